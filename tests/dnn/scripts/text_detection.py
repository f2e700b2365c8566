"""Find lines of text, as turned boxes, with a net whose two outputs are those of EAST."""

import math

import cv2 as cv

confThreshold, nmsThreshold = 0.5, 0.4
inpWidth, inpHeight = 96, 64


def decodeBoundingBoxes(scores, geometry, scoreThresh):
    detections, confidences = [], []
    for y in range(scores.shape[2]):
        for x in range(scores.shape[3]):
            score = scores[0, 0, y, x]
            if score < scoreThresh:
                continue
            d0, d1, d2, d3, angle = geometry[0, :, y, x]
            cosA, sinA = math.cos(angle), math.sin(angle)
            h, w = d0 + d2, d1 + d3
            offset = (x * 4.0 + cosA * d1 + sinA * d2, y * 4.0 - sinA * d1 + cosA * d2)
            p1 = (-sinA * h + offset[0], -cosA * h + offset[1])
            p3 = (-cosA * w + offset[0], sinA * w + offset[1])
            center = (float(0.5 * (p1[0] + p3[0])), float(0.5 * (p1[1] + p3[1])))
            detections.append((center, (float(w), float(h)), float(-1 * angle * 180.0 / math.pi)))
            confidences.append(float(score))
    return detections, confidences


net = cv.dnn.readNet("text.prototxt", "text.caffemodel")
outNames = ["feature_fusion/Conv_7/Sigmoid", "feature_fusion/concat_3"]
frame = cv.imread("image.png")
rH, rW = frame.shape[0] / float(inpHeight), frame.shape[1] / float(inpWidth)

blob = cv.dnn.blobFromImage(frame, 1.0, (inpWidth, inpHeight), (123.68, 116.78, 103.94), True, False)
net.setInput(blob)
outs = net.forward(outNames)
scores, geometry = outs[0], outs[1]
print("scores", scores.shape, "geometry", geometry.shape)

boxes, confidences = decodeBoundingBoxes(scores, geometry, confThreshold)
indices = cv.dnn.NMSBoxesRotated(boxes, confidences, confThreshold, nmsThreshold)
print(len(boxes), "boxes,", len(indices), "stay")
for i in list(indices)[:5]:
    vertices = cv.boxPoints(boxes[i])
    for j in range(4):
        vertices[j][0] *= rW
        vertices[j][1] *= rH
    print(f"{confidences[i]:.3f}", vertices.round(1).tolist())
    for j in range(4):
        p1 = (int(vertices[j][0]), int(vertices[j][1]))
        p2 = (int(vertices[(j + 1) % 4][0]), int(vertices[(j + 1) % 4][1]))
        cv.line(frame, p1, p2, (0, 255, 0), 1)
cv.imwrite("text.png", frame)
