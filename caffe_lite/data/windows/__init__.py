"""Windows of images, as files of WindowData layers list them."""
