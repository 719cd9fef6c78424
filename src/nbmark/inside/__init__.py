"""What runs inside the wall, beside the student's code: nothing here may import the rest of nbmark.

`driver` holds the wire to the trusted side and the Jupyter client, `kernel` starts the ipykernel,
`agent` answers questions inside the kernel. They hold no secret: a student may read them.
"""
