"""What comes in and what goes out: corpora, questions, FiD/DPR JSON; the format is found out from the file."""

from kofid.formats.corpus import read_corpus
from kofid.formats.fid_json import read_examples, write_examples
from kofid.formats.json_shapes import example_to_json
from kofid.formats.question_files import is_question_file, read_questions

__all__ = [
    "example_to_json",
    "is_question_file",
    "read_corpus",
    "read_examples",
    "read_questions",
    "write_examples",
]
