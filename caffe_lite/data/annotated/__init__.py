"""Images with the boxes of their objects: databases of AnnotatedDatum, the files they are made from, label maps."""
