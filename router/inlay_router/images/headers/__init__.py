"""Width and height of an image by its header, one module a format; nothing is decoded or unpacked.

What a reader does is bounded whatever a file says, and what it does not understand is damage: a
decoder that understood it might find another size.
"""
