"""What the lead sees: progress, agreement, how people work, the images with their votes. Nothing is written."""
