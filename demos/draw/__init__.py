"""Pure functions from results to HTML, SVG, PNG and plotly figures."""
