"""Give a grey image colours: the net says which of 313 colours each place has, and a layer turns that into a and b."""

import cv2 as cv
import numpy as np

W_in, H_in = 32, 32

net = cv.dnn.readNetFromCaffe("colorization.prototxt", "colorization.caffemodel")

# The centres of the colours become the weights of a convolution with a 1 x 1 kernel.
pts_in_hull = np.load("pts_in_hull.npy")
pts_in_hull = pts_in_hull.transpose().reshape(2, 313, 1, 1)
net.getLayer(net.getLayerId("class8_ab")).blobs = [pts_in_hull.astype(np.float32)]
net.getLayer(net.getLayerId("conv8_313_rh")).blobs = [np.full([1, 313], 2.606, np.float32)]

frame = cv.imread("image.png")
img_rgb = (frame[:, :, [2, 1, 0]] * 1.0 / 255).astype(np.float32)
img_lab = cv.cvtColor(img_rgb, cv.COLOR_RGB2Lab)
img_l = img_lab[:, :, 0]
(H_orig, W_orig) = img_rgb.shape[:2]

img_rs = cv.resize(img_rgb, (W_in, H_in))
img_l_rs = cv.cvtColor(img_rs, cv.COLOR_RGB2Lab)[:, :, 0]
img_l_rs -= 50

net.setInput(cv.dnn.blobFromImage(img_l_rs))
ab_dec = net.forward("class8_ab")[0, :, :, :].transpose((1, 2, 0))
print("ab", ab_dec.shape, ab_dec.mean(axis=(0, 1)).round(3).tolist(), ab_dec.std(axis=(0, 1)).round(3).tolist())

ab_dec_us = cv.resize(ab_dec, (W_orig, H_orig))
img_lab_out = np.concatenate((img_l[:, :, np.newaxis], ab_dec_us), axis=2)
img_bgr_out = np.clip(cv.cvtColor(img_lab_out, cv.COLOR_Lab2BGR), 0, 1)
cv.imwrite("colours.png", (img_bgr_out * 255).astype(np.uint8))
print("image", img_bgr_out.mean(axis=(0, 1)).round(3).tolist())
