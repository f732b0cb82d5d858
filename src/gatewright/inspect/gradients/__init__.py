"""How outputs and states depend on what a network read: saliency, integrated gradients, effective memory."""
