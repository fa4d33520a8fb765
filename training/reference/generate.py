"""Works out what our mathematics has to agree with, by libraries that are not ours, and writes it beside this file.

    pip install -r requirements.txt && python generate.py

The files are committed; the tests read them, so that nobody needs Python to run the tests.
PyTorch computes losses, gradients, the optimiser, the schedule and pooling (in double precision), pytrec_eval the measures
and the order of ties, bm25s the scores of BM25, NumPy and SciPy the bootstrap, SciPy the law of both towers.
"""

import json
from pathlib import Path

import bm25s
import numpy
import pytrec_eval
import scipy.optimize
import scipy.stats
import torch
from torch.nn import functional

HERE = Path(__file__).parent
torch.set_default_dtype(torch.float64)


def write(name, value):
    (HERE / f"{name}.json").write_text(json.dumps(plain(value), ensure_ascii=False) + "\n", encoding="utf-8")


def plain(value):
    """Tensors as lists, numbers with ten digits."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (torch.Tensor, numpy.ndarray)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (float, numpy.floating)):
        return float(f"{value:.10g}")
    return value


def inputs(random, *shape, scale=1.0):
    """Numbers that float32 and ten decimal digits both hold exactly, so that both sides start from the same."""
    return torch.tensor(numpy.round(random.standard_normal(shape) * scale * 64) / 64)


def gradients(loss, values):
    return torch.autograd.grad(loss, values)


# Stage 2: MSE + (1 - cosine), and the contrastive term.


def distillation(student, teacher, documents, weights):
    mse, cosine = weights.get("mse", 1), weights.get("cosine", 1)
    contrastive, temperature = weights.get("contrastive", 0), weights.get("temperature", 0.05)
    loss = mse * functional.mse_loss(student, teacher)
    loss = loss + cosine * (1 - functional.cosine_similarity(student, teacher, dim=-1)).mean()
    if contrastive:
        scores = functional.normalize(student, dim=-1) @ documents.T / temperature
        loss = loss + contrastive * functional.cross_entropy(scores, torch.arange(len(student)))
    return loss


def losses():
    random = numpy.random.default_rng(1)
    student = inputs(random, 5, 4).requires_grad_()
    # Longer than the student's, and of lengths that differ: a loss that normalises where it must not shows.
    teacher = inputs(random, 5, 4, scale=3)
    documents = functional.normalize(inputs(random, 5, 4), dim=-1)
    cases = []
    for weights in [
        {},
        {"mse": 1, "cosine": 0},
        {"mse": 0, "cosine": 1},
        {"mse": 0.7, "cosine": 1.3},
        {"contrastive": 0.2},
        {"mse": 0, "cosine": 0, "contrastive": 1},
        {"mse": 0.5, "cosine": 0, "contrastive": 0.4, "temperature": 0.5},
    ]:
        loss = distillation(student, teacher, documents, weights)
        cases.append({"weights": weights, "loss": loss, "gradient": gradients(loss, student)[0]})
    write("losses", {"student": student, "teacher": teacher, "documents": documents, "cases": cases})


# Stage 1: InfoNCE. What is no negative of a query is worked out from the texts.


def contrast():
    random = numpy.random.default_rng(2)
    # Two queries with the same text, a document that answers two queries, and two hard negatives, the last of them the
    # answer of a query that is in the batch.
    queries = ["bees", "stars", "bees", "moon", "hives"]
    documents = ["honey", "suns", "wax", "rock", "honey", "iron", "suns"]
    answers = {}
    for query, document in zip(queries, documents):
        answers.setdefault(query, set()).add(document)
    is_negative = torch.tensor(
        [
            [document not in answers[query] for document in documents]
            for query in queries
        ]
    )
    own = torch.eye(len(queries), len(documents), dtype=torch.bool)
    q = inputs(random, len(queries), 4).requires_grad_()
    d = inputs(random, len(documents), 4).requires_grad_()
    cases = []
    for candidates, normalize, temperature, masked in [
        (7, True, 0.05, True),
        (6, True, 0.05, True),
        (7, True, 0.3, True),
        (7, False, 1.0, True),
        (7, True, 0.3, False),
    ]:
        a, b = (functional.normalize(x, dim=-1) if normalize else x for x in (q, d[:candidates]))
        scores = a @ b.T / temperature
        if masked:
            scores = scores.masked_fill(~(is_negative | own)[:, :candidates], -torch.inf)
        loss = functional.cross_entropy(scores, torch.arange(len(queries)))
        by_q, by_d = gradients(loss, [q, d])
        cases.append(
            {
                "candidates": candidates,
                "normalize": normalize,
                "temperature": temperature,
                "masked": masked,
                "loss": loss,
                "queryGradient": by_q,
                "documentGradient": by_d[:candidates],
            }
        )
    excluded = (~(is_negative | own)).int()
    texts = {"queries": queries, "documents": documents, "excluded": excluded}
    write("contrast", {**texts, "queryVectors": q, "documentVectors": d, "cases": cases})


# AdamW, clipping and the schedule.


def rates(rate, steps, warmup, final_share):
    """The learning rate of each step, from 1: by PyTorch's own schedules, one after the other."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps - warmup, 1), eta_min=final_share * rate)
    if warmup < 2:
        schedule, skipped = falling, 1 - warmup
    else:
        rising = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, 1, warmup - 1)
        schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [rising, falling], [warmup - 1])
        skipped = 0
    found = []
    for step in range(steps + skipped):
        if step >= skipped:
            found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def optimizer():
    random = numpy.random.default_rng(3)
    start = {"matrix": inputs(random, 2, 3), "bias": inputs(random, 3)}
    cases = []
    for options in [
        {"rate": 0.1, "steps": 5},
        {"rate": 0.1, "steps": 6, "warmup": 3, "finalShare": 0.1},
        {"rate": 0.05, "steps": 5, "warmup": 1, "weightDecay": 0},
        {
            "rate": 0.02,
            "steps": 6,
            "warmup": 2,
            "weightDecay": 0.3,
            "maxNorm": 0.5,
            "beta1": 0.8,
            "beta2": 0.95,
            "epsilon": 0.01,
            "finalShare": 0.2,
        },
    ]:
        weights = {name: value.clone().requires_grad_() for name, value in start.items()}
        # Biases and norms do not decay.
        decay = options.get("weightDecay", 0.01)
        groups = [
            {"params": [weights["matrix"]], "weight_decay": decay},
            {"params": [weights["bias"]], "weight_decay": 0},
        ]
        betas = (options.get("beta1", 0.9), options.get("beta2", 0.999))
        adam = torch.optim.AdamW(groups, betas=betas, eps=options.get("epsilon", 1e-8))
        schedule = rates(options["rate"], options["steps"], options.get("warmup", 0), options.get("finalShare", 0))
        steps = []
        for step, rate in enumerate(schedule):
            # Some gradients are longer than the longest that is let through, others shorter.
            given = {name: inputs(random, *value.shape, scale=(2 if step % 2 else 0.1)) for name, value in start.items()}
            norm = torch.linalg.vector_norm(torch.cat([each.flatten() for each in given.values()]))
            factor = min(1.0, options.get("maxNorm", 1) / norm.item())
            for name, value in weights.items():
                value.grad = given[name] * factor
            for group in adam.param_groups:
                group["lr"] = rate
            adam.step()
            after = {name: value.detach().clone() for name, value in weights.items()}
            steps.append({"gradients": given, "rate": rate, "norm": norm, "weights": after})
        cases.append({"options": options, "steps": steps})
    schedules = [
        {**options, "rates": rates(options["rate"], options["steps"], options["warmup"], options["finalShare"])}
        for options in [
            {"rate": 3e-4, "steps": 20, "warmup": 2, "finalShare": 0.0},
            {"rate": 1e-3, "steps": 12, "warmup": 5, "finalShare": 0.25},
            {"rate": 1.0, "steps": 6, "warmup": 0, "finalShare": 0.0},
            {"rate": 1.0, "steps": 4, "warmup": 4, "finalShare": 0.5},
        ]
    ]
    write("optimizer", {"start": start, "cases": cases, "schedules": schedules})


# Token vectors to one vector a text.


def pooling():
    random = numpy.random.default_rng(4)
    tokens = inputs(random, 4, 5, 3).requires_grad_()
    target = inputs(random, 4, 3)
    cases = []
    for side, mask in [
        ("right", [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0], [1, 1, 0, 0, 0]]),
        ("left", [[1, 1, 1, 1, 1], [0, 0, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 1, 1]]),
    ]:
        present = torch.tensor(mask, dtype=torch.float64)[:, :, None]
        pooled = {
            "mean": (tokens * present).sum(1) / present.sum(1),
            "cls": torch.stack([row[each.index(1)] for row, each in zip(tokens, mask)]),
            "last": torch.stack([row[len(each) - 1 - each[::-1].index(1)] for row, each in zip(tokens, mask)]),
        }
        for name, vectors in pooled.items():
            gradient = gradients((vectors * target).sum(), tokens)[0]
            cases.append({"side": side, "mask": mask, "pooling": name, "vectors": vectors, "gradient": gradient})
    write("pooling", {"tokens": tokens, "target": target, "cases": cases})


# The lookup student: vectors weighted by token, position and context, and vectors of neighbouring tokens.


def lookup():
    random = numpy.random.default_rng(5)
    rows, width, context, positions = 6, 4, 32, 3
    tables = {
        "vectors": inputs(random, rows, width),
        "log_weights": inputs(random, rows, scale=0.5),
        "seeks": inputs(random, rows, context, scale=0.3),
        "shows": inputs(random, rows, context, scale=0.3),
        "positions": inputs(random, positions, scale=0.5),
        "pair_vectors": torch.cat([torch.zeros(1, width), inputs(random, 2, width)]),
    }
    # Each pair's two tokens; row 0 of the table is that of no pair.
    pairs = {(1, 2): 1, (3, 3): 2}
    texts = [[1, 2, 5, 0], [3, 3, 3], [4], [0, 1, 2, 3, 4, 5]]
    for value in tables.values():
        value.requires_grad_()

    def encode():
        vectors = []
        for text in texts:
            shown = tables["shows"][text].mean(0)
            weights = torch.stack(
                [
                    torch.exp(
                        tables["log_weights"][token]
                        + tables["positions"][min(at, positions - 1)]
                        + tables["seeks"][token] @ shown
                    )
                    for at, token in enumerate(text)
                ]
            )
            total = (weights[:, None] * tables["vectors"][text]).sum(0)
            for pair in zip(text, text[1:]):
                if pair in pairs:
                    total = total + tables["pair_vectors"][pairs[pair]]
            vectors.append((total, total / weights.sum()))
        sums, means = zip(*vectors)
        return torch.stack(sums), torch.stack(means)

    sums, means = encode()
    start = {name: value.detach().clone() for name, value in tables.items()}
    found = {"sums": sums.detach(), "means": means.detach()}
    scale = 2.5
    teacher = inputs(random, len(texts), width, scale=2)
    options = {"rate": 0.05, "steps": 4, "warmup": 2, "weightDecay": 0.2}
    loss_weights = {"mse": 0.7, "cosine": 1.3}
    adam = torch.optim.AdamW(
        [
            {"params": [value], "weight_decay": options["weightDecay"] if value.dim() > 1 else 0}
            for value in tables.values()
        ]
    )
    steps = []
    # Every row is used in every step but that of no pair, which is 0: a row that no text uses would not decay in ours.
    for rate in rates(options["rate"], options["steps"], options["warmup"], 0)[:3]:
        loss = distillation(scale * encode()[1], teacher, None, loss_weights)
        adam.zero_grad()
        loss.backward()
        norm = torch.linalg.vector_norm(torch.cat([value.grad.flatten() for value in tables.values()]))
        for value in tables.values():
            value.grad *= min(1.0, 1 / norm.item())
        for group in adam.param_groups:
            group["lr"] = rate
        adam.step()
        steps.append({"loss": loss.detach(), "rate": rate, "norm": norm})
    after = {name: value.detach() for name, value in tables.items()}
    write(
        "lookup",
        {
            "texts": texts,
            "pairs": [[*pair, row] for pair, row in pairs.items()],
            "pairRows": [[pairs[pair] for pair in zip(text, text[1:]) if pair in pairs] for text in texts],
            "tables": start,
            **found,
            "scale": scale,
            "teacher": teacher,
            "optimizer": options,
            "loss": loss_weights,
            "steps": steps,
            "after": after,
        },
    )


# Measures, as trec_eval has them.


def measures():
    random = numpy.random.default_rng(6)
    qrels, runs = {}, {}
    for query in range(40):
        documents = [f"d{index}" for index in range(30)]
        judged = random.choice(documents, random.integers(1, 20), replace=False)
        grades = {str(each): int(random.choice([-1, 0, 0, 1, 1, 2, 3])) for each in judged}
        answered = random.permutation(documents)[: random.integers(1, 25)]
        # Few different scores: many ties.
        scores = random.integers(0, 6, len(answered)) / 4
        qrels[f"q{query}"] = grades
        runs[f"q{query}"] = {str(each): float(score) for each, score in zip(answered, scores)}
    # Odd cases. Scores that float32 can't tell apart, ids that order differently by UTF-16 and by bytes, no relevant
    # document, nothing found, and documents that nobody has judged.
    qrels |= {"near": {"a": 1}, "bytes": {"\uffee": 1}, "zero": {"a": 0, "b": 0}, "negative": {"a": -1}}
    qrels |= {"nothing": {"a": 1}, "unjudged": {"a": 2, "b": 1}, "digits": {"9": 1, "10": 2}}
    runs |= {"near": {"a": 1.00000001, "b": 1.0}, "bytes": {"\uffee": 1.0, "\U00010000": 1.0}}
    runs |= {"zero": {"a": 2.0, "b": 1.0}, "negative": {"a": 2.0, "b": 1.0}, "nothing": {}}
    runs |= {"unjudged": {"x": 3.0, "y": 2.0, "b": 1.0}, "digits": {"9": 1.0, "10": 1.0, "100": 1.0}}
    wanted = {"ndcg_cut.1,3,5,10,20", "recall.5,10,50,100", "recip_rank"}
    found = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(runs)
    # trec_eval's reciprocal rank has no cut-off: one is made by cutting the run, in trec_eval's order.
    cut = {}
    for query, hits in runs.items():
        order = sorted(hits, key=lambda each: (numpy.float32(hits[each]), each.encode()), reverse=True)
        cut[query] = {each: float(len(order) - rank) for rank, each in enumerate(order[:3])}
    first = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(cut)
    for query, values in found.items():
        values["recip_rank_cut_3"] = first[query]["recip_rank"]
    write("measures", {"qrels": qrels, "runs": runs, "measures": found})


# BM25 as Lucene counts.


def bm25():
    random = numpy.random.default_rng(7)
    vocabulary = [f"w{index}" for index in range(25)]
    share = 1 / numpy.arange(1, 26)
    share /= share.sum()
    documents = [list(random.choice(vocabulary, random.integers(1, 30), p=share)) for _ in range(40)]
    documents[7] = documents[3]
    queries = [list(random.choice(vocabulary, random.integers(1, 12), p=share)) for _ in range(12)]
    queries += [["w20", "w20", "w20", "w1"], ["unknown", "w3"]]
    # Lucene has no document without a term in its counts; to bm25s it is one, so it does not get to see it.
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75)
    model.index(documents, show_progress=False)
    # A query's tokens are given one by one: a word that is repeated is added as often.
    scores = [model.get_scores([word for word in query if word in model.vocab_dict]) for query in queries]
    words = lambda texts: [" ".join(map(str, text)) for text in texts]
    write("bm25", {"documents": words(documents), "queries": words(queries), "scores": numpy.array(scores, dtype=float)})


# A whole evaluation by wording: BM25, and what BEIR leaves out.


def evaluation():
    random = numpy.random.default_rng(10)
    vocabulary = list("abcdefghijklmnopqrstuvwxyz")
    # Ids 0 to 4 are those of queries as well: documents that must not answer them.
    documents = {str(index): list(random.choice(vocabulary, random.integers(2, 12))) for index in range(30)}
    documents["30"] = documents["12"]
    queries = {str(index): documents[str(index)] + list(random.choice(vocabulary, 2)) for index in range(5)}
    queries |= {f"q{index}": list(random.choice(vocabulary, random.integers(1, 8))) for index in range(10)}
    qrels = {
        query: {str(each): int(random.integers(0, 4)) for each in random.choice(31, 8, replace=False)} for query in queries
    }
    qrels["q3"] = {"1": 0, "2": 0}
    qrels["1"]["1"] = 2
    model = bm25s.BM25(method="lucene", k1=1.2, b=0.75, dtype="float64")
    model.index(list(documents.values()), show_progress=False)
    runs = {}
    for query, words in queries.items():
        scores = model.get_scores([word for word in words if word in model.vocab_dict])
        runs[query] = {
            document: float(score) for document, score in zip(documents, scores) if score > 0 and document != query
        }
    found = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.3,10", "recall.50,100"}).evaluate(runs)
    texts = lambda each: {key: " ".join(map(str, words)) for key, words in each.items()}
    write("evaluation", {"documents": texts(documents), "queries": texts(queries), "qrels": qrels, "measures": found})


# The paired percentile bootstrap.


def mulberry32(seed):
    """The generator of training/random.ts: the same draws, other arithmetic."""
    state = seed
    mask = 0xFFFFFFFF
    while True:
        state = (state + 0x6D2B79F5) & mask
        bits = ((state ^ (state >> 15)) * (1 | state)) & mask
        bits = ((bits + (((bits ^ (bits >> 7)) * (61 | bits)) & mask)) & mask) ^ bits
        yield ((bits ^ (bits >> 14)) & mask) / 2**32


def bootstrap():
    random = numpy.random.default_rng(8)
    baseline = numpy.round(random.uniform(0.2, 1, 60), 6)
    values = numpy.round(baseline * random.uniform(0.5, 1.2, 60), 6)
    draws = mulberry32(1)
    rows = numpy.array([[int(next(draws) * 60) for _ in range(60)] for _ in range(10_000)])
    cases = {}
    for name, statistic in [
        ("ratio", lambda a, b, axis=-1: a.sum(axis=axis) / b.sum(axis=axis)),
        ("difference", lambda a, b, axis=-1: (a - b).mean(axis=axis)),
    ]:
        drawn = numpy.sort(statistic(values[rows], baseline[rows]))
        # The percentile interval of 10 000: what 250 of them lie below, and 250 above.
        exact = [drawn[250], drawn[-251]]
        other = scipy.stats.bootstrap(
            (values, baseline), statistic, paired=True, method="percentile", n_resamples=50_000, rng=9, vectorized=True
        )
        cases[name] = {"exact": exact, "scipy": list(other.confidence_interval)}
    write("bootstrap", {"values": values, "baseline": baseline, **cases})


# The law of both towers: SciPy's own least squares over all seven constants, within the same bounds, from many starts.


def tower_law():
    random = numpy.random.default_rng(10)
    sizes = [1.2e5, 4e5, 9e5, 2e6]
    grid = [(d, q, pairs) for pairs in [8_000, 16_000, 32_000] for d in sizes for q in sizes]
    places = numpy.array([grid[at] for at in sorted(random.permutation(len(grid))[:24])], dtype=float)
    document, query, pairs = places.T
    units = numpy.exp(numpy.log(places).mean(axis=0))

    def law(_, a, alpha, b, beta, c, gamma, delta):
        return (
            a * (document / units[0]) ** -alpha
            + b * (query / units[1]) ** -beta
            + c * (pairs / units[2]) ** -gamma
            + delta
        )

    cases = []
    for truth, noise in [
        ((0.4, 0.5, 0.7, 0.35, 0.9, 0.6, 1.1), 0),
        ((0.4, 0.5, 0.7, 0.35, 0.9, 0.6, 1.1), 0.002),
        ((1.0, 0.3, 0.2, 0.9, 0.5, 1.2, 0.4), 0.005),
    ]:
        entropy = numpy.round(law(None, *truth) + noise * random.standard_normal(len(places)), 9)
        best = None
        for _ in range(40):
            start = [*random.uniform(0.1, 1.5, 6), random.uniform(0.1, 1)]
            bounds = ([0] * 7, [numpy.inf, 2, numpy.inf, 2, numpy.inf, 2, numpy.inf])
            try:
                found, _ = scipy.optimize.curve_fit(
                    law, places, entropy, p0=start, bounds=bounds, xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=20_000
                )
            except RuntimeError:
                continue
            error = ((law(None, *found) - entropy) ** 2).sum()
            if best is None or error < best[0]:
                best = (error, found)
        a, alpha, b, beta, c, gamma, delta = best[1]
        constants = {
            "A": units[0] * a ** (1 / alpha),
            "alpha": alpha,
            "B": units[1] * b ** (1 / beta),
            "beta": beta,
            "C": units[2] * c ** (1 / gamma),
            "gamma": gamma,
            "delta": delta,
        }
        cases.append({"entropy": entropy, "constants": constants, "error": best[0]})
    write("tower-law", {"places": places, "cases": cases})


for each in [losses, contrast, optimizer, pooling, lookup, measures, bm25, evaluation, bootstrap, tower_law]:
    each()
