"""Looking: Plotly figures, the HTML report, and the two dashboards that others built."""
