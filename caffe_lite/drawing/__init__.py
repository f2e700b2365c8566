"""Pictures of nets without graphviz: the content (`picture`), the places (`layout`), SVG (`svg`) and HTML (`page`)."""
