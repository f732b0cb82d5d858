"""The compiled engine on torch's tensors: a Trace over a sequence as one operation that autograd can differentiate."""
