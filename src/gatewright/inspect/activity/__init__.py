"""What gates and states do while a network reads: recorded from any model with recurrent layers."""
