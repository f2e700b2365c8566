"""Images and videos for nets: files of them (`files`), and images on their way into a net (`preparation`)."""
