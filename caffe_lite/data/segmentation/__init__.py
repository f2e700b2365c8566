"""Images with a label for each pixel: pairs of files (`pairs`), and what each data layer does with them."""
