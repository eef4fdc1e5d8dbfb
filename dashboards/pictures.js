  // The film: a large picture of each strategy at the step of the slider.
  for (const film of document.querySelectorAll(".film")) {
    const slider = film.querySelector(".slider"), input = slider.querySelector("input");
    const strategies = [...film.querySelectorAll(".strategy")].map((part) => ({
      stage: part.querySelector(".stage"), buttons: [...part.querySelectorAll(".frames button")],
    }));
    const show = (step) => {
      input.value = step;
      slider.querySelector("output").textContent = `${step} of ${input.max}`;
      for (const { stage, buttons } of strategies) {
        const button = buttons[step - 1], image = button.querySelector("img");
        stage.querySelector("img").src = image.src;
        stage.querySelector("img").alt = image.alt;
        stage.querySelector("figcaption").textContent = button.innerText.replace("\n", ": ");
        buttons.forEach((one) => one.setAttribute("aria-pressed", one === button));
      }
    };
    for (const { stage, buttons } of strategies) {
      stage.hidden = false;
      buttons.forEach((button, place) => button.addEventListener("click", () => show(place + 1)));
    }
    slider.hidden = false;
    input.addEventListener("input", () => show(+input.value));
    show(1);
  }
  // Sheets of samples, enlarged.
  const enlarged = document.getElementById("enlarged");
  for (const sheet of document.querySelectorAll("figure > .sheet")) {
    sheet.addEventListener("click", () => {
      enlarged.querySelector("div").replaceChildren(sheet.parentElement.cloneNode(true));
      enlarged.showModal();
    });
  }
  enlarged?.addEventListener("click", ({ target }) => {
    if (target === enlarged || target.closest(".sheet")) enlarged.close();
  });
