"""Questions with known answers: held out from the small model's training, and about the sample notebook."""

import json
import re
from pathlib import Path

HELD_OUT = json.loads(Path(__file__).with_name("held_out_questions.json").read_text())  # made by web/build/smallmodel/heldout.py

# Question, and what its answer has to have in it; None: the notebook does not say.
NOTEBOOK = (
    ("Why does the Annika's engine overheat, and what fixed it?", "impeller"),
    ("What may Jonas not eat?", "hazelnuts"),
    ("How do I start the sourdough again after a holiday?", "spoonful"),
    ("When does the lease of the workshop end?", "31 January 2029"),
    ("Which hive swarmed in May?", "hive three"),
    ("What oil does the lathe need?", "ISO VG 22"),
    ("How much did the new mainsail cost?", "1,870"),
    ("What did the doctor say about my shoulder?", "the tendon"),
    ("What is the rent of the workshop?", "640"),
    ("Where is the boat's key?", "kitchen drawer"),
    ("When does the passport expire?", "14 July 2027"),
    ("Who is the harbour master?", "Ingrid Solberg"),
    ("What is the workshop's network called?", "brassband"),
    ("When is the concert of the choir?", "13 December"),
    ("How much does Mr Lund charge?", "280"),
    ("What is the starter called?", "Bruno"),
    ("When is the birthday of Pavel?", "2 June"),
    ("What is the account number at Hallberg?", "20417"),
    ("How much are the dues for plot 23?", "85"),
    ("Why did the sewing machine skip stitches?", "backwards"),
    ("What does Jonas want for his birthday?", "head torch"),
    ("When is the bakery closed?", "Wednesday"),
    ("How long does the renewal of the passport take?", "five weeks"),
    ("Where does the router hang?", "behind the clock"),
    ("Who delivers the bearings?", "Hallberg"),
    ("How much does half an hour of looking cost?", "15"),
    ("What is the capital of France?", None),
    ("When is my appointment with the dentist?", None),
    ("What is the name of Pavel's dog?", None),
    ("Who won the football match?", None),
    ("How much did the piano cost?", None),
    ("What colour is Ingrid's car?", None),
)


def split(said: str) -> tuple[str, int]:
    """An answer as (what it says, the number it names); 0 where it names none."""
    found = re.fullmatch(r"(.*?)\s*\[(\d+)\]\.?", said.strip(), re.DOTALL)
    return (found[1], int(found[2])) if found else (said.strip(), 0)
