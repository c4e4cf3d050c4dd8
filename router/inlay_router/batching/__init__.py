"""The batch: what each step computes, for whom, in which blocks; driven over a link."""
