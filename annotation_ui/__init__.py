"""A web tool in which people vote on images: its server, its queue and its pages."""
