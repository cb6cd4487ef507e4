"""Plans as files: for maps, for navigation, on paper."""

FORMATS = ("geojson", "gpx", "html", "pdf")
