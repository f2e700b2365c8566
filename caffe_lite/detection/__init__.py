"""Objects in images: nets that find them (`finder`), boxes drawn (`marking`)."""
