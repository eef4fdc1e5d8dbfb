"""The Debian packages whose fonts the letters are drawn from, and the fonts that are left out.

All are in the main section of Debian 12. A licence is that of the fonts, as the package states it
in /usr/share/doc/PACKAGE/copyright, by its SPDX name where it has one.

A font is left out if a reader would not take its glyphs for the letters. To find such fonts, a
linear discriminant told the classes of each font's letters after training on fonts of other
families. The fonts that it got a quarter wrong of, and the 864 pictures that it was most wrong
about, were looked at enlarged, and all others in rows. Condensed, thin and script fonts that can be
read were kept. Left out as whole packages are:

- fonts-atarismall: too coarse.
- fonts-breip, fonts-kristi, fonts-ecolier-court: handwriting; the 0 of the first is a U, the S of
  the second a J, and the W of the third a few dots.
- fonts-adf-oldania, fonts-adf-solothurn, fonts-f500: small letters in place of capitals.
- fonts-femkeklaver: scribbled outlines.
- fonts-staypuft: its V is a heart.
- fonts-liberation: its licence is the GPL with terms of its own; fonts-croscore has its designs,
  except the narrow one.
- fonts-roboto-hinted: it only links to fonts-roboto-unhinted.

The symbol fonts of fonts-urw-base35 (D050000L, StandardSymbolsPS) and fonts-noto-core, and its
fonts of other scripts, are not named below.
"""

from __future__ import annotations

GPL2_FONT = "GPL-2.0-or-later WITH Font-exception-2.0"
GPL3_FONT = "GPL-3.0-or-later WITH Font-exception-2.0"

PACKAGES: dict[str, tuple[str, str]] = {
    "fonts-adf-accanthis": (GPL2_FONT, "AccanthisADF"),
    "fonts-adf-baskervald": (GPL2_FONT, "BaskervaldADF"),
    "fonts-adf-berenis": (GPL2_FONT, "BerenisADF"),
    "fonts-adf-gillius": (GPL2_FONT, "GilliusADF"),
    "fonts-adf-ikarius": (GPL2_FONT, "IkariusADF"),
    "fonts-adf-irianis": (GPL2_FONT, "IrianisADF"),
    "fonts-adf-libris": (GPL2_FONT, "LibrisADF"),
    "fonts-adf-mekanus": (GPL2_FONT, "MekanusADF"),
    "fonts-adf-romande": (GPL2_FONT, "RomandeADF"),
    "fonts-adf-switzera": (GPL2_FONT, "SwitzeraADF"),
    "fonts-adf-tribun": (GPL2_FONT, "TribunADF"),
    "fonts-adf-universalis": (GPL2_FONT, "UniversalisADF"),
    "fonts-adf-verana": (GPL2_FONT, "Verana"),
    "fonts-bebas-neue": ("OFL-1.1", "BebasNeue-"),
    "fonts-beteckna": ("GPL-3.0-or-later", "Beteckna"),
    "fonts-cantarell": ("OFL-1.1", "Cantarell-"),
    "fonts-comic-neue": ("OFL-1.1", "ComicNeue-"),
    "fonts-croscore": ("OFL-1.1", "Arimo- Cousine- Tinos-"),
    "fonts-crosextra-caladea": ("OFL-1.1", "Caladea-"),
    "fonts-crosextra-carlito": ("OFL-1.1", "Carlito-"),
    "fonts-dancingscript": ("OFL-1.1", "DancingScript-"),
    "fonts-dejavu-core": (
        "Bitstream-Vera",
        "DejaVuSans. DejaVuSans- DejaVuSansMono DejaVuSerif. DejaVuSerif-",
    ),
    "fonts-dejavu-extra": ("Bitstream-Vera", "DejaVuSansCondensed DejaVuSerifCondensed"),
    "fonts-ebgaramond": ("OFL-1.1", "EBGaramond"),
    "fonts-fantasque-sans": ("OFL-1.1", "FantasqueSansMono-"),
    "fonts-firacode": ("OFL-1.1", "FiraCode-"),
    "fonts-freefont-ttf": (GPL3_FONT, "FreeMono FreeSans FreeSerif"),
    "fonts-gfs-didot": ("OFL-1.1", "GFSDidot"),
    "fonts-goudybookletter": ("public domain", "GoudyBookletter"),
    "fonts-hack": ("MIT and Bitstream-Vera", "Hack-"),
    "fonts-humor-sans": ("OFL-1.1", "Humor-Sans"),
    "fonts-inconsolata": ("OFL-1.0", "Inconsolata."),
    "fonts-jetbrains-mono": ("Apache-2.0", "JetBrainsMono-"),
    "fonts-junicode": ("OFL-1.1", "Junicode"),
    "fonts-jura": ("OFL-1.1", "Jura-"),
    "fonts-lato": ("OFL-1.1", "Lato-"),
    "fonts-league-spartan": ("OFL-1.1", "LeagueSpartan-"),
    "fonts-lindenhill": ("MIT", "LindenHill"),
    "fonts-linuxlibertine": (f"{GPL2_FONT} or OFL-1.1", "LinBiolinum_ LinLibertine_"),
    "fonts-lobster": ("OFL-1.1", "lobster."),
    "fonts-lobstertwo": ("OFL-1.1", "LobsterTwo-"),
    "fonts-mononoki": ("OFL-1.1", "mononoki-"),
    "fonts-noto-core": ("OFL-1.1", "NotoSans-Regular. NotoSerif-Regular."),
    "fonts-noto-extra": (
        "OFL-1.1",
        "NotoSans- NotoSansDisplay- NotoSansMono- NotoSerif- NotoSerifDisplay-",
    ),
    "fonts-ocr-a": ("public domain", "OCRA"),
    "fonts-oldstandard": ("OFL-1.0", "OldStandard-"),
    "fonts-open-sans": ("Apache-2.0", "OpenSans-"),
    "fonts-opendyslexic": ("CC-BY-3.0 and Bitstream-Vera", "OpenDyslexic"),
    "fonts-play": ("OFL-1.1", "Play-"),
    "fonts-prociono": ("public domain", "Prociono."),
    "fonts-quicksand": ("OFL-1.1", "Quicksand-"),
    "fonts-roboto-slab": ("Apache-2.0", "RobotoSlab-"),
    "fonts-roboto-unhinted": ("Apache-2.0", "Roboto- RobotoCondensed-"),
    "fonts-rufscript": ("GPL-3.0-only WITH Font-exception-2.0", "Rufscript"),
    "fonts-sil-andika": ("OFL-1.1-RFN", "Andika-"),
    "fonts-sil-charis": ("OFL-1.1-RFN", "CharisSIL-"),
    "fonts-sil-gentium": ("OFL-1.1", "Gentium- GentiumAlt-"),
    "fonts-tomsontalks": ("OFL-1.1", "TomsonTalks."),
    "fonts-urw-base35": (
        "AGPL-3.0-only with a font exception",
        "C059- NimbusMonoPS- NimbusRoman- NimbusSans- NimbusSansNarrow- P052- URWBookman- "
        "URWGothic- Z003-",
    ),
    "fonts-vollkorn": ("OFL-1.1", "Vollkorn-"),
    "fonts-yanone-kaffeesatz": ("OFL-1.1", "YanoneKaffeesatz-"),
}
"""The licence of each package's fonts, and what the names of its font files begin with."""

LEFT_OUT = (
    "BebasNeue-Thin",  # strokes much thinner than a pixel, which leave a faint grey
    "Lato-Hairline",  # as BebasNeue-Thin
    "LinBiolinum_K",  # keys of a keyboard: boxed letters
    "LinLibertine_I",  # initials with a rim
    "OCRAItalic",  # specks below M and T
)
"""What the names of files of these packages begin with that are left out."""
