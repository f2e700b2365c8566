"""Objects in images: nets that find them (`finder`), files of images and videos (`media`), boxes drawn (`marking`)."""
