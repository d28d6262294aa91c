"""kofid: Korean open-domain question answering with Fusion-in-Decoder, as a library.

    >>> import kofid
    >>> kofid.open_demo().ask("임진왜란은 언제 일어났나?").answer.text
    '1592년 4월 13일'

``kofid.open("kb").ask("...")`` asks an index that ``kofid.index`` or the command line made. Every command of ``kofid`` is a
function of the same name here; it prints nothing, and what goes wrong is a ``KofidError``. A name is imported when it is
first used: ``import kofid`` alone loads nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# The public names, by the module that each is in.
_PUBLIC = {
    "kofid.types": "Answer Example Hit OnStep Passage Progress Question RankingReader Reader Reading Rerank Search silent",
    "kofid.errors": "CorruptArtifactError IncompatibleArtifactError InputError KofidError ResourceError UsageError",
    "kofid.pipeline": "Pipeline PipelineOptions Reply open open_corpus open_demo retrieve",
    "kofid.operations.reranking": "open_reranker read_ranked rerank write_ranked",
    "kofid.operations.indexing": "IndexEstimate IndexReport VectorEstimate estimate_index estimate_vectors index",
    "kofid.operations.checks": "Installation doctor verify",
    "kofid.retrieval.modes": "Engine FusionMethod SearchMode",
    "kofid.retrieval.fusion": "Fusion",
    "kofid.retrieval.ranking_options": "RankingOptions",
    "kofid.retrieval.hybrid": "open_search",
    "kofid.retrieval.engines": "open_engine",
    "kofid.retrieval.index": "Index",
    "kofid.retrieval.build": "has_interrupted_build record_ranking",
    "kofid.retrieval.explain": "Explanation",
    "kofid.operations.analysis": "WordAnalysis analyze",
    "kofid.reader.kinds": "ReaderKind",
    "kofid.reader.open": "DEFAULT_READER open_reader passages_to_read",
    "kofid.reader.fid.config": "ReadingOptions ScoreMethod Variant",
    "kofid.formats": "example_to_json is_question_file read_corpus read_examples read_questions write_examples",
    "kofid.formats.json_shapes": "reply_to_json",
    "kofid.evaluation.predictions": "Evaluation Prediction evaluate evaluate_examples",
    "kofid.evaluation.rankings": "JudgedRanking judge mean_measures write_rankings",
    "kofid.experiments.tuning": "Tuned tune",
    "kofid.formats.question_files": "looks_like_missing_file typed_question",
    "kofid.evaluation.metrics": "HIT_CUTOFFS",
    "kofid.retrieval.sparse.analyzer": "CONTENT_TAGS",
    "kofid.storage.files": "refuse_unwritable write_file",
    "kofid.operations.conversion": "Conversion convert",
    "kofid.training.options": "Contrast Distillation FreshModel ReadingLengths Stage TrainOptions",
    "kofid.training.reader": "train_reader",
    "kofid.training.retriever": "train_retriever",
    "kofid.training.reranker": "train_reranker",
    "kofid.training.distill": "distill",
    "kofid.evaluation.comparison": "Comparison System choose_measures compare read_systems",
    "kofid.evaluation.report": (
        "check_plot comparison_columns comparison_row markdown markdown_table write_curves write_plot write_risk_plot"
    ),
    "kofid.evaluation.significance": "randomization_test t_test",
    "kofid.experiments.ablation": "Ablation ablation_cells ablation_columns plot_ablation write_ablation",
    "kofid.experiments.grid": "Grid",
    "kofid.experiments.rounds": "ROUND_MEASURES Rounds",
    "kofid.experiments.steps": "Step Watcher",
    "kofid.experiments.settings": "assign_settings",
}
_MODULES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = [*sorted(_MODULES), "__version__"]  # noqa: PLE0604, PLE0605


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'kofid' has no attribute '{name}'")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return __all__


if TYPE_CHECKING:  # the same names, for type checkers
    from kofid.errors import CorruptArtifactError as CorruptArtifactError
    from kofid.errors import IncompatibleArtifactError as IncompatibleArtifactError
    from kofid.errors import InputError as InputError
    from kofid.errors import KofidError as KofidError
    from kofid.errors import ResourceError as ResourceError
    from kofid.errors import UsageError as UsageError
    from kofid.evaluation.comparison import Comparison as Comparison
    from kofid.evaluation.comparison import System as System
    from kofid.evaluation.comparison import choose_measures as choose_measures
    from kofid.evaluation.comparison import compare as compare
    from kofid.evaluation.comparison import read_systems as read_systems
    from kofid.evaluation.metrics import HIT_CUTOFFS as HIT_CUTOFFS
    from kofid.evaluation.predictions import Evaluation as Evaluation
    from kofid.evaluation.predictions import Prediction as Prediction
    from kofid.evaluation.predictions import evaluate as evaluate
    from kofid.evaluation.predictions import evaluate_examples as evaluate_examples
    from kofid.evaluation.rankings import JudgedRanking as JudgedRanking
    from kofid.evaluation.rankings import judge as judge
    from kofid.evaluation.rankings import mean_measures as mean_measures
    from kofid.evaluation.rankings import write_rankings as write_rankings
    from kofid.evaluation.report import check_plot as check_plot
    from kofid.evaluation.report import comparison_columns as comparison_columns
    from kofid.evaluation.report import comparison_row as comparison_row
    from kofid.evaluation.report import markdown as markdown
    from kofid.evaluation.report import markdown_table as markdown_table
    from kofid.evaluation.report import write_curves as write_curves
    from kofid.evaluation.report import write_plot as write_plot
    from kofid.evaluation.report import write_risk_plot as write_risk_plot
    from kofid.evaluation.significance import randomization_test as randomization_test
    from kofid.evaluation.significance import t_test as t_test
    from kofid.experiments.ablation import Ablation as Ablation
    from kofid.experiments.ablation import ablation_cells as ablation_cells
    from kofid.experiments.ablation import ablation_columns as ablation_columns
    from kofid.experiments.ablation import plot_ablation as plot_ablation
    from kofid.experiments.ablation import write_ablation as write_ablation
    from kofid.experiments.grid import Grid as Grid
    from kofid.experiments.rounds import ROUND_MEASURES as ROUND_MEASURES
    from kofid.experiments.rounds import Rounds as Rounds
    from kofid.experiments.settings import assign_settings as assign_settings
    from kofid.experiments.steps import Step as Step
    from kofid.experiments.steps import Watcher as Watcher
    from kofid.experiments.tuning import Tuned as Tuned
    from kofid.experiments.tuning import tune as tune
    from kofid.formats import example_to_json as example_to_json
    from kofid.formats import is_question_file as is_question_file
    from kofid.formats import read_corpus as read_corpus
    from kofid.formats import read_examples as read_examples
    from kofid.formats import read_questions as read_questions
    from kofid.formats import write_examples as write_examples
    from kofid.formats.json_shapes import reply_to_json as reply_to_json
    from kofid.formats.question_files import looks_like_missing_file as looks_like_missing_file
    from kofid.formats.question_files import typed_question as typed_question
    from kofid.operations.analysis import WordAnalysis as WordAnalysis
    from kofid.operations.analysis import analyze as analyze
    from kofid.operations.checks import Installation as Installation
    from kofid.operations.checks import doctor as doctor
    from kofid.operations.checks import verify as verify
    from kofid.operations.conversion import Conversion as Conversion
    from kofid.operations.conversion import convert as convert
    from kofid.operations.indexing import IndexEstimate as IndexEstimate
    from kofid.operations.indexing import IndexReport as IndexReport
    from kofid.operations.indexing import VectorEstimate as VectorEstimate
    from kofid.operations.indexing import estimate_index as estimate_index
    from kofid.operations.indexing import estimate_vectors as estimate_vectors
    from kofid.operations.indexing import index as index
    from kofid.operations.reranking import open_reranker as open_reranker
    from kofid.operations.reranking import read_ranked as read_ranked
    from kofid.operations.reranking import rerank as rerank
    from kofid.operations.reranking import write_ranked as write_ranked
    from kofid.pipeline import Pipeline as Pipeline
    from kofid.pipeline import PipelineOptions as PipelineOptions
    from kofid.pipeline import Reply as Reply
    from kofid.pipeline import open as open
    from kofid.pipeline import open_corpus as open_corpus
    from kofid.pipeline import open_demo as open_demo
    from kofid.pipeline import retrieve as retrieve
    from kofid.reader.fid.config import ReadingOptions as ReadingOptions
    from kofid.reader.fid.config import ScoreMethod as ScoreMethod
    from kofid.reader.fid.config import Variant as Variant
    from kofid.reader.kinds import ReaderKind as ReaderKind
    from kofid.reader.open import DEFAULT_READER as DEFAULT_READER
    from kofid.reader.open import open_reader as open_reader
    from kofid.reader.open import passages_to_read as passages_to_read
    from kofid.retrieval.build import has_interrupted_build as has_interrupted_build
    from kofid.retrieval.build import record_ranking as record_ranking
    from kofid.retrieval.engines import open_engine as open_engine
    from kofid.retrieval.explain import Explanation as Explanation
    from kofid.retrieval.fusion import Fusion as Fusion
    from kofid.retrieval.hybrid import open_search as open_search
    from kofid.retrieval.index import Index as Index
    from kofid.retrieval.modes import Engine as Engine
    from kofid.retrieval.modes import FusionMethod as FusionMethod
    from kofid.retrieval.modes import SearchMode as SearchMode
    from kofid.retrieval.ranking_options import RankingOptions as RankingOptions
    from kofid.retrieval.sparse.analyzer import CONTENT_TAGS as CONTENT_TAGS
    from kofid.storage.files import refuse_unwritable as refuse_unwritable
    from kofid.storage.files import write_file as write_file
    from kofid.training.distill import distill as distill
    from kofid.training.options import Contrast as Contrast
    from kofid.training.options import Distillation as Distillation
    from kofid.training.options import FreshModel as FreshModel
    from kofid.training.options import ReadingLengths as ReadingLengths
    from kofid.training.options import Stage as Stage
    from kofid.training.options import TrainOptions as TrainOptions
    from kofid.training.reader import train_reader as train_reader
    from kofid.training.reranker import train_reranker as train_reranker
    from kofid.training.retriever import train_retriever as train_retriever
    from kofid.types import Answer as Answer
    from kofid.types import Example as Example
    from kofid.types import Hit as Hit
    from kofid.types import OnStep as OnStep
    from kofid.types import Passage as Passage
    from kofid.types import Progress as Progress
    from kofid.types import Question as Question
    from kofid.types import RankingReader as RankingReader
    from kofid.types import Reader as Reader
    from kofid.types import Reading as Reading
    from kofid.types import Rerank as Rerank
    from kofid.types import Search as Search
    from kofid.types import silent as silent
