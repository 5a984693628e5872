"""The files of an evaluation that `evaluate` writes and the report shows."""

SIMILARITY_NAME = "similarity.json"
ATTENTIONS_NAME = "attentions.json"
PROVENANCE_NAME = "provenance.json"

ABSENT = "absent"
"""The key under which a part that cannot be given has its reason, one line for people."""
