"""Networks that find objects: Faster R-CNN and Mask R-CNN on any ResNet of the family."""
