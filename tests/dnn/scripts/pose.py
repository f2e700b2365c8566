"""Find the joints of a person in maps of confidence, and draw the limbs between them."""

import cv2
import numpy as np

BODY_PARTS = {"Head": 0, "Neck": 1, "Hand": 2, "Foot": 3, "Hip": 4, "Background": 5}
POSE_PAIRS = [["Head", "Neck"], ["Neck", "Hand"], ["Neck", "Hip"], ["Hip", "Foot"]]
THRESHOLD = 0.1

net = cv2.dnn.readNetFromCaffe("pose.prototxt", "pose.caffemodel")
frame = cv2.imread("image.png")
frameHeight, frameWidth = frame.shape[:2]
inHeight = 64
inWidth = int((inHeight / frameHeight) * frameWidth)

inpBlob = cv2.dnn.blobFromImage(frame, 1.0 / 255, (inWidth, inHeight), (0, 0, 0), swapRB=False, crop=False)
net.setInput(inpBlob)
out = net.forward()
print("maps", out.shape)
assert len(BODY_PARTS) <= out.shape[1]

points = []
for i in range(len(BODY_PARTS)):
    heatMap = out[0, i, :, :]
    _, conf, _, point = cv2.minMaxLoc(heatMap)
    x = (frameWidth * point[0]) / out.shape[3]
    y = (frameHeight * point[1]) / out.shape[2]
    print(f"part {i}: {conf:.3f} at {x:.1f}, {y:.1f}")
    points.append((int(x), int(y)) if conf > THRESHOLD else None)

for partFrom, partTo in POSE_PAIRS:
    idFrom, idTo = BODY_PARTS[partFrom], BODY_PARTS[partTo]
    if points[idFrom] and points[idTo]:
        cv2.line(frame, points[idFrom], points[idTo], (0, 255, 0), 3)
        cv2.ellipse(frame, points[idFrom], (3, 3), 0, 0, 360, (0, 0, 255), cv2.FILLED)

stages = net.forward(["Mconv2_stage1_L1", "Mconv2_stage2_L2"])
print("stages", [s.shape for s in stages], [float(np.abs(s).mean().round(3)) for s in stages])
cv2.imwrite("pose.png", frame)
