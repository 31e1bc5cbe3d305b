"""Input pipelines in NumPy: the same batches for both frameworks.

A workload's data module opens a split as a `Dataset`: examples with random access, a
function that decodes one of them, and a function that finishes a batch. This package
turns it into batches: shuffled without end for training, or each example exactly once
for evaluation. Importing it loads NumPy and nothing heavier; grain loads when used.
"""

from algorithmic_efficiency.data.batches import Batch as Batch
from algorithmic_efficiency.data.batches import EvalBatches as EvalBatches
from algorithmic_efficiency.data.batches import TrainBatches as TrainBatches
from algorithmic_efficiency.data.batches import eval_batches as eval_batches
from algorithmic_efficiency.data.batches import train_batches as train_batches
from algorithmic_efficiency.data.dataset import BadExample as BadExample
from algorithmic_efficiency.data.dataset import BadExamples as BadExamples
from algorithmic_efficiency.data.dataset import DataFlag as DataFlag
from algorithmic_efficiency.data.dataset import Dataset as Dataset
from algorithmic_efficiency.data.dataset import Examples as Examples
from algorithmic_efficiency.data.dataset import Folders as Folders
from algorithmic_efficiency.data.dataset import Plan as Plan
from algorithmic_efficiency.data.dataset import Subset as Subset
from algorithmic_efficiency.data.dataset import stack as stack
from algorithmic_efficiency.data.plans import Blocks as Blocks
from algorithmic_efficiency.data.plans import Budgets as Budgets
