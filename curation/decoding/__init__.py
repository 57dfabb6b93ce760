"""What reading a picture asks for beside a decoder: metadata kept away from it, colours, depth, and further formats."""
