"""Windows of images, as the files of WindowData layers list them."""
