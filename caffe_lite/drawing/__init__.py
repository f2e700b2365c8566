"""Pictures of nets without graphviz: what is drawn (`picture`), where (`layout`), as SVG (`svg`) and HTML (`page`)."""
