"""The nouns of Stillage, and the legend of shapes and signs for all modules.

Shapes: B sequences, T tokens, V student vocabulary, W teacher vocabulary, H student hidden size, G
teacher hidden size, K kept. A name ends in its shape: `logp_TV`, `hidden_TH`. Signs: p is the
teacher, q the student; log-probabilities are float32, in nats; scores are higher for a likelier
member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np

from stillage.result import Result as Result

if TYPE_CHECKING:
    import torch

Array = np.ndarray
Part = Literal["private", "public", "nonmembers", "counterfactual", "validation", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
"""private: the teacher's training records (members). public: the student's. nonmembers: nobody's.
counterfactual: trains the teacher that never saw the private records. validation, test: quality."""
SIDES: tuple[Part, Part] = ("private", "nonmembers")
"""Members and nonmembers: the parts that an audit compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One example: a prompt (with optional input), and the response to be learned.

    id is a hash of the content alone, so that the same text has the same id in every file.
    messages: (role, content) of earlier turns of a chat. source: file:line, or the generator's
    name. meta: other columns, kept for slices and extraction targets.
    """

    id: str
    prompt: str
    response: str
    input: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    source: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)


END = 2**31 - 1
"""Bound of a text read to its end, end-of-text token included: behind every character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Where in a response its T scored tokens stand, and what of the prompt was cut.

    Token t stands for characters [bounds_N[t], bounds_N[t + 1]) of the response, so that numbers
    per byte are of what was read. A character of several tokens belongs to the last of them; a
    token that begins in the prompt has a bound below 0; the end-of-text token reaches END.
    left_out: characters [start, stop) of the laid-out prompt that were cut; (0, 0): none.
    """

    bounds_N: Array  # int32, of length T + 1, non-decreasing
    left_out: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A tokenised record: ids, and which are trained and scored: response and EOS.

    response_T is never True at position 0: nothing predicts the first token. extras: float32, one
    number per trained token, e.g. an advantage. span: of the response tokens; None: of no record,
    or nobody asked.
    """

    record_id: str
    ids_T: Array  # int32
    response_T: Array  # bool
    extras: Mapping[str, Array] = field(default_factory=dict)
    span: Span | None = None

    @property
    def prompt_ids(self) -> Array:
        """The ids before the first response token."""
        first = int(np.argmax(self.response_T)) if self.response_T.any() else len(self.ids_T)
        return self.ids_T[:first]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStats:
    """One forward pass's statistics of a record's T scored (response) tokens.

    numpy, all of shape [T]. logp: log q of the true token. mean, var: E_q[log q] and Var_q[log q]
    over the vocabulary, under the model's own q. rank: number of vocabulary entries more probable
    than the true token (0 = best). greedy: is the true token the argmax? span: what of the record
    the tokens stand for; None: all of it.
    """

    ids_T: Array  # int32
    logp_T: Array  # float32
    mean_T: Array  # float32
    var_T: Array  # float32
    rank_T: Array  # int32
    greedy_T: Array  # bool
    span: Span | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientNorms:
    """Lengths of the gradient of one record's loss with respect to the weights.

    The loss is the mean over its T scored tokens; NaN at T = 0. total^2 = sum over blocks of
    blocks_L^2 + rest^2; rest: what is in no block (embeddings, last norm, head). blocks_L is empty
    for an architecture whose blocks cannot be told.
    """

    total: float
    blocks_L: Array  # float64, one per block, first block first
    rest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Noise on weights W, W + sigma scale(W) eps, of `copies` noisy models.

    scale is the root mean square of W, or 1 if not relative.
    """

    sigma: float = 0.2
    copies: int = 10
    relative: bool = True
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A padded micro-batch of S columns, and the T positions in it that are trained.

    Labels are shifted once, where the batch is made: the hidden state at flat position
    positions_T[t] (row * S + column) predicts labels_T[t]. Nobody else shifts, and nothing is
    inferred from the value of a pad or EOS id.
    """

    record_ids: tuple[str, ...]
    ids_BS: torch.Tensor  # int64
    attention_BS: torch.Tensor | None  # 1 on real tokens, 0 on padding; None: no padding
    positions_T: torch.Tensor  # int64
    labels_T: torch.Tensor  # int64
    documents_BS: torch.Tensor | None = None  # int64, packed: each token's record, -1 padding
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)  # the examples' extras, [T]


@dataclass(frozen=True, slots=True)
class Head:
    """What makes logits of hidden states: softcap(hidden weight' + bias).

    softcap(z) = c tanh(z / c). weight_VH None: nothing does, the hidden states are the logits
    already (a head that is no linear layer).
    """

    weight_VH: torch.Tensor | None
    bias_V: torch.Tensor | None = None
    softcap: float | None = None


@dataclass(frozen=True, slots=True)
class Readout:
    """A model's answer at T positions: last hidden states, and the head for them.

    Row t predicts label t. `functional.readout` makes logits of it, a few positions at a time.
    """

    hidden_TH: torch.Tensor
    head: Head

    @property
    def vocabulary(self) -> int:
        """The number of logits at a position."""
        weight_VH = self.head.weight_VH
        return self.hidden_TH.shape[-1] if weight_VH is None else weight_VH.shape[0]

    def split(self, sizes: list[int]) -> list[Readout]:
        """Parts of so many positions each, with the same head."""
        return [Readout(hidden_CH, self.head) for hidden_CH in self.hidden_TH.split(sizes)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One micro-batch as a method sees it: both models' readouts, and the labels."""

    student: Readout
    teacher: Readout | None
    labels_T: torch.Tensor
    number: int  # optimiser step, from 0
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)  # [T], of the rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a text is written: repeated n-grams, temperature, top-k, top-p, draw."""

    max_new_tokens: int = 64
    sampling_temperature: float = 0.0  # 0: greedy
    top_p: float = 1.0  # the smallest set of likeliest tokens with this probability; 1: all
    top_k: int = 0  # keep the k likeliest (ties stay); 0: all
    no_repeat_ngram: int = 0  # never write an n-gram twice, the prompt included; 0: off


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRollout:
    """The records' own texts are trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherRollout:
    """The teacher answers every prompt once, before the first step.

    With stop_after a text ends after the first place with it; the end of text then set in gets
    the extra "cut" = 1, all other tokens 0.
    """

    decoding: Decoding
    beams: int = 1  # more than 1: beam search instead of a draw
    stop_after: str = ""
    soft_targets: bool = False  # the teacher's distributions over its texts are asked for too


Source = Literal["data", "student", "student_then_replay", "replay"]
"""Whose texts a step trains on: the records' own; the student's, written now; the student's, kept,
and then a draw from all that are kept; a draw alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentState:
    """Where a StudentRollout stands; JSON in the checkpoint."""

    threshold: float = 0.0  # probability of texts that the student wrote
    reference_loss: float | None = None  # validation loss that the next ones are compared with
    buffered: int = 0  # texts in the replay buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentRollout:
    """On-policy: the student answers the prompts, or a replay buffer is drawn from.

    source(state, draw, progress) chooses: draw is uniform in [0, 1), progress the share of steps
    done after this one, in (0, 1]. What the student writes goes into a first-in, first-out buffer
    of `capacity` texts. validated(state, loss): the state after a validation; None: as before.
    """

    decoding: Decoding
    source: Callable[[StudentState, float, float], Source]
    capacity: int = 0
    start: StudentState = field(default_factory=StudentState)
    validated: Callable[[StudentState, float], StudentState] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedRollout:
    """Cycles of texts that student and teacher write together, token by token.

    Each token is drawn from (1 - teacher_share) student + teacher_share teacher. cycle_records
    prompts are answered at once and trained inner_epochs times, shuffled, before the next; their
    log-probabilities under both models are kept, and annotate([(logq_T, logp_T), ...]) turns those
    of one step's texts, all processes together, into the extras of each. The student is trained
    without dropout, so that it stays the one that wrote.
    """

    decoding: Decoding
    teacher_share: float
    cycle_records: int
    inner_epochs: int
    annotate: Callable[[list[tuple[Array, Array]]], list[Mapping[str, Array]]]


Terms: TypeAlias = "dict[str, torch.Tensor]"
"""Token sums of a step by name, each a scalar with its gradient."""
Rollout = DataRollout | TeacherRollout | StudentRollout | MixedRollout
"""Who writes the tokens that are trained: the same on every process, apart from the loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a student is trained: named token sums to minimise, and what they need.

    params: the frozen dataclass whose fields become the flags; it refuses bad values itself
    (ConfigError), without torch. terms(step, params) returns token SUMS, already weighted; the loop
    adds them, divides once by the global number of trained tokens, and logs each by name.
    needs_teacher(params): whether there must be a teacher. rollout(params): who writes the texts.
    budget(params): fields of TrainConfig that the method decides. presets: settings of params by
    name; "paper" is the method as written, "as_released" its code where that differs.
    """

    name: str
    paper: str
    params: type
    terms: Callable[..., Terms]
    needs_teacher: Callable[..., bool] = lambda params: True
    rollout: Callable[..., Rollout] = lambda params: DataRollout()
    budget: Callable[..., Mapping[str, object]] = lambda params: {}
    presets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


Party = Literal[
    "target",
    "reference",
    "outside",
    "counterfactual",
    "initial",
    "teacher_initial",
    "self_prompted",
    "record",
]
"""Whom an attack asks. target: the attacked model. reference: the run's reference model. outside:
the model given as audit.reference. counterfactual: the same pipeline whose teacher never saw the
private records. initial: the weights that the target's training started from. teacher_initial:
those that the teacher's did. self_prompted: a model trained from the target's start on texts that
the target wrote. record: nobody."""
Transform = Literal[
    "as_is",
    "text",
    "needed",
    "lowercase",
    "neighbours",
    "nonmember_prefix",
    "member_prefix",
    "noise",
    "gradient",
    "frequency",
]
"""What is asked, and the reply. as_is, needed (its needed part alone), lowercase (of the response),
nonmember_prefix, member_prefix (after texts of known nonmembers or members): TokenStats of the
response. neighbours, noise (S noisy copies of the weights): several TokenStats. gradient:
GradientNorms. frequency: float64[V], > 0, shares of the target's tokens in public text. text: the
response's text, of Party "record"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question an attack asks: of whom, about the record under which transform."""

    party: Party
    transform: Transform = "as_is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """A membership attack: its queries, and a pure score of the replies, in order.

    score returns a float, higher = more likely a member; NaN = cannot score (counted and shown,
    never dropped). same_tokens: it compares two models token by token, so both must read the
    records with one tokenizer.
    """

    name: str
    paper: str
    access: Literal["none", "text", "logprob", "weights"]  # what the attacker needs of the target
    queries: tuple[Query, ...]
    score: Callable[..., float]
    same_tokens: bool = False


Statistic = Literal["confidence", "log_probability", "features"]
"""What is kept of each record under each shadow. log_probability: mean over the scored tokens,
nats. confidence: log(q / (1 - q)) with q = exp(log_probability). features:
attacks.learned.token_features, float64[F]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAttack:
    """A membership attack by means of K shadow pipelines.

    score(target [N, ...], shadows [K, N, ...], in bool[K, N]) returns float64[N], higher = more
    likely a member, NaN = cannot score. in: which shadow met which record; whether the target did
    is told to nobody. least: shadows that must have met a record, and as many that must not have.
    """

    name: str
    paper: str
    statistic: Statistic
    least: int
    score: Callable[[Array, Array, Array], Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAttack:
    """A membership attack that learns from records whose membership it knows.

    score(stats, texts, is_member [N], fold [N]) returns float64[N], higher = more likely a member,
    NaN = cannot score. The score of a record of fold f may depend on no membership within f.
    learns: from nonmembers alone, or from both kinds: then folds depend on each other as those of
    the blind attackers do, and intervals are as wide.
    """

    name: str
    paper: str
    learns: Literal["nonmembers", "both"]
    score: Callable[..., Array]
