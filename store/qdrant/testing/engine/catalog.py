"""Collections and aliases: what a Qdrant server keeps around the engine. Each collection is one shard of the engine."""

import json
import os
import shutil
import threading
from pathlib import Path
from uuid import uuid4

import qdrant_edge as edge
import translate
from translate import Refused, fields, typed, whole

VECTOR = ("size", "distance", "on_disk", "multivector_config")
HNSW = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
DISTANCES = {name: getattr(edge.Distance, name) for name in ("Cosine", "Dot", "Euclid", "Manhattan")}
MODIFIERS = {"idf": edge.Modifier.Idf}

# Types of payload indexes that serve a condition.
SERVING = {str: ("keyword", "uuid"), int: ("integer",), bool: ("bool",), range: ("integer", "float", "datetime")}


def missing(name):
    return Refused(404, f"Not found: Collection `{name}` doesn't exist!")


class Copies:
    """How far the copies of every collection are behind their leader, as a test wants it."""

    def __init__(self):
        self.lag = 0
        self.dead = False


class Collection:
    """
    One collection: a shard, and its copies. Reads come in between the operations of a batch, as in a server.

    The first copy is the leader, which has every operation that was acknowledged. The others follow, up to `lag`
    operations behind, unless the write has to be accepted by all.
    """

    def __init__(self, folder, settings, shards, copies):
        self.folder = folder
        self.settings = settings
        self.shards = shards
        self.copies = copies
        self.behind = [[] for _ in shards]
        self.operations = 0
        self.pending = []
        self.writing = threading.Lock()
        self.using = threading.Lock()

    def use(self, name, action, copy=0):
        with self.using:
            if self.shards is None:
                raise missing(name)
            # Where there are fewer copies than nodes, a node asks the others.
            return action(self.shards[copy if copy < len(self.shards) and not (copy and self.copies.dead) else 0])

    def use_all(self, name, action, consistency, copy):
        """What as many copies say as are asked for, the node's own first."""
        if consistency is None:
            return [self.use(name, action, copy)]
        total = len(self.shards)
        active = 1 if self.copies.dead else total
        wanted = total if consistency == "all" else min(consistency, total)
        if active < wanted:
            raise Refused(
                500,
                "Service internal error: The replica set for shard 0 on peer 1 does not have enough active replicas",
            )
        return [self.use(name, action, (copy + other) % total) for other in range(wanted)]

    def update(self, name, operations, wait):
        """
        What nobody waits for is acknowledged and applied before the next update that somebody waits for, and no
        sooner: a reader who counts on it earlier is wrong.
        """
        with self.writing:
            self.pending += operations
            if wait:
                while self.pending:
                    operation = self.pending.pop(0)
                    self.use(name, lambda shard: shard.update(operation))
                    for copy in range(1, len(self.shards)):
                        self.behind[copy].append(operation)
                        self.follow(name)
            results = [{"operation_id": self.operations + 1 + index} for index in range(len(operations))]
            self.operations += len(operations)
        return [{**one, "status": "completed" if wait else "acknowledged"} for one in results]

    def follow(self, name):
        """Lets the other copies go on, as far as the test wants."""
        all_accept = self.settings.get("write_consistency_factor", 1) >= len(self.shards)
        lag = 0 if all_accept else self.copies.lag
        for copy, behind in enumerate(self.behind):
            while len(behind) > lag:
                operation = behind.pop(0)
                with self.using:
                    self.shards[copy].update(operation)

    def check_vectors(self, points):
        """Before any of them is written: a server refuses all for one."""
        vectors = self.settings["vectors"]
        sizes = {name: one["size"] for name, one in ({"": vectors} if "size" in vectors else vectors).items()}
        for point in points:
            given = point["vector"]
            for name, vector in (given if isinstance(given, dict) else {"": given}).items():
                if name not in sizes and name not in self.settings.get("sparse_vectors", {}):
                    raise Refused(400, f"Wrong input: Not existing vector name error: {name}")
                if name in sizes and len(vector) != sizes[name]:
                    raise Refused(
                        400,
                        f"Wrong input: Vector dimension error: expected dim: {sizes[name]}, got {len(vector)}",
                    )

    def indexes(self, name):
        schema = self.use(name, lambda shard: shard.info().payload_schema)
        return {
            field: {"data_type": repr(info.data_type).split(".")[-1].strip("'>").lower(), "points": info.points}
            for field, info in schema.items()
        }

    def check_strict(self, name, filters, limit=None):
        strict = self.settings.get("strict_mode_config") or {}
        if not strict.get("enabled"):
            return
        limit_exceeded("limit", limit, strict.get("max_query_limit"))
        conditions = [one for value in filters for one in translate.conditions_of(value)]
        limit_exceeded("filter_max_conditions", len(conditions), strict.get("filter_max_conditions"))
        if strict.get("unindexed_filtering_retrieve", True) and strict.get("unindexed_filtering_update", True):
            return
        indexed = {field: info["data_type"] for field, info in self.indexes(name).items()}
        for one in conditions:
            key, wanted = needs(one)
            if key not in indexed or (wanted is not None and indexed[key] not in wanted):
                raise Refused(
                    400,
                    f'Bad request: Index required but not found for "{key}" of one of the following types: '
                    f"[{', '.join(wanted or ('any',))}]. Help: Create an index for this key or use a different filter.",
                )

    def description(self, name):
        info = self.use(name, lambda shard: shard.info())
        settings = self.settings
        params = {key: settings[key] for key in ("vectors", "sparse_vectors") if key in settings}
        config = {
            "params": {
                **params,
                "shard_number": settings.get("shard_number", 1),
                "replication_factor": settings.get("replication_factor", 1),
                "write_consistency_factor": settings.get("write_consistency_factor", 1),
                "on_disk_payload": settings.get("on_disk_payload", True),
            },
            "hnsw_config": {**HNSW, **settings.get("hnsw_config", {})},
            "optimizer_config": {"indexing_threshold": 10_000, **settings.get("optimizers_config", {})},
            "quantization_config": settings.get("quantization_config"),
        }
        if "metadata" in settings:
            config["metadata"] = settings["metadata"]
        if "strict_mode_config" in settings:
            config["strict_mode_config"] = settings["strict_mode_config"]
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": info.points_count,
            "segments_count": info.segments_count,
            "config": config,
            "payload_schema": self.indexes(name),
        }

    def close(self):
        with self.using:
            for shard in self.shards:
                shard.close()
            self.shards = None
        shutil.rmtree(self.folder)


def limit_exceeded(what, value, most):
    if value is not None and most is not None and value > most:
        raise Refused(
            400,
            f'Bad request: Limit exceeded {value} > {most} for "{what}". '
            f'Help: Reduce the "{what}" parameter to or below {most}.',
        )


def needs(condition):
    """The field of a condition, and the types of index that serve it; None for any."""
    if "is_empty" in condition:
        return condition["is_empty"]["key"], None
    if "range" in condition:
        return condition["key"], SERVING[range]
    match = condition["match"]
    return condition["key"], SERVING[type(match["value"]) if "value" in match else str]


class Catalog:
    """All collections and aliases, in a folder that a later process can go on with."""

    def __init__(self, folder, nodes):
        self.folder = Path(folder)
        self.nodes = nodes
        self.copies = Copies()
        self.file = self.folder / "catalog.json"
        self.changing = threading.Lock()
        self.collections = {}
        self.aliases = {}
        if not self.file.exists():
            return
        kept = json.loads(self.file.read_text())
        self.aliases = kept["aliases"]
        for name, (place, settings) in kept["collections"].items():
            folder = self.folder / place
            shards = [edge.EdgeShard.load(str(copy)) for copy in sorted(folder.iterdir())]
            self.collections[name] = Collection(folder, settings, shards, self.copies)

    def set_copies(self, value):
        """For tests: how many operations the copies may be behind, and whether those besides the leaders are dead."""
        body = fields(value, "copies", "lag", "dead")
        self.copies.lag = whole(body.get("lag", self.copies.lag), "lag")
        self.copies.dead = typed(body.get("dead", self.copies.dead), "dead", bool)
        for name, collection in list(self.collections.items()):
            with collection.writing:
                collection.follow(name)
        return True

    def find(self, name):
        collection = self.collections.get(self.aliases.get(name, name))
        if collection is None:
            raise missing(name)
        return collection

    def create(self, name, value):
        if "/" in name:
            raise Refused(
                422,
                "Validation error in path parameters: "
                '[collection_name: collection name cannot contain "/" char]',
            )
        settings, config = collection_settings(value)
        with self.changing:
            if name in self.collections:
                raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
            if name in self.aliases:
                raise Refused(
                    400,
                    f"Wrong input: Can't create collection with name {name}. Alias with the same name already exists",
                )
            folder = self.folder / uuid4().hex
            shards = []
            for copy in range(min(self.nodes, settings.get("replication_factor", 1))):
                (folder / str(copy)).mkdir(parents=True)
                shards.append(edge.EdgeShard.create(str(folder / str(copy)), config))
            self.collections[name] = Collection(folder, settings, shards, self.copies)
            self.keep()
        return True

    def configure(self, name, value):
        collection = self.find(name)
        fields(value, "collection update", "optimizers_config", "metadata")
        optimizers = optimizers_config(value.get("optimizers_config", {}))
        metadata = typed(value.get("metadata", {}), "metadata", dict)
        with self.changing:
            settings = collection.settings
            settings["optimizers_config"] = {**settings.get("optimizers_config", {}), **optimizers}
            merged = {**settings.get("metadata", {}), **metadata}
            settings["metadata"] = {key: one for key, one in merged.items() if one is not None}
            self.keep()
        return True

    def drop(self, name):
        with self.changing:
            collection = self.collections.pop(name, None)
            if collection is None:
                return False
            self.aliases = {alias: target for alias, target in self.aliases.items() if target != name}
            self.keep()
        collection.close()
        return True

    def change_aliases(self, value):
        """All of the actions or none; nobody sees some of them."""
        actions = fields(value, "aliases", "actions", required=["actions"])["actions"]
        with self.changing:
            aliases = dict(self.aliases)
            for action in typed(actions, "actions", list):
                fields(action, "action", "create_alias", "delete_alias")
                if "delete_alias" in action:
                    made = fields(action["delete_alias"], "delete_alias", "alias_name", required=["alias_name"])
                    aliases.pop(made["alias_name"], None)
                if "create_alias" in action:
                    known = ("alias_name", "collection_name")
                    made = fields(action["create_alias"], "create_alias", *known, required=known)
                    alias, target = made["alias_name"], made["collection_name"]
                    if target not in self.collections:
                        raise missing(target)
                    if alias in self.collections:
                        raise Refused(409, f"Wrong input: Collection `{alias}` already exists!")
                    aliases[alias] = target
            self.aliases = aliases
            self.keep()
        return True

    def keep(self):
        kept = {name: (one.folder.name, one.settings) for name, one in self.collections.items()}
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps({"aliases": self.aliases, "collections": kept}))
        os.replace(new, self.file)


def optimizers_config(value):
    body = fields(value, "optimizers_config", "indexing_threshold")
    return {name: whole(one, name) for name, one in body.items()}


def collection_settings(value):
    """How a collection is described, and how the engine makes it."""
    body = fields(
        value,
        "collection",
        "vectors",
        "sparse_vectors",
        "shard_number",
        "replication_factor",
        "write_consistency_factor",
        "on_disk_payload",
        "hnsw_config",
        "optimizers_config",
        "quantization_config",
        "strict_mode_config",
        "metadata",
        required=["vectors"],
    )
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        # A server alone takes any number of copies, too, and has one.
        whole(body.get(name, 1), name, 1)
    typed(body.get("metadata", {}), "metadata", dict)
    optimizers_config(body.get("optimizers_config", {}))
    strict_mode(body.get("strict_mode_config", {}))
    hnsw = {**HNSW, **fields(body.get("hnsw_config", {}), "hnsw_config", *HNSW, "on_disk")}
    given = body["vectors"]
    named = {"": given} if isinstance(given, dict) and "size" in given else typed(given, "vectors", dict)
    sparse = typed(body.get("sparse_vectors", {}), "sparse_vectors", dict)
    config = edge.EdgeConfig(
        vectors={name: vector_params(one) for name, one in named.items()},
        sparse_vectors={name: sparse_params(one) for name, one in sparse.items()},
        on_disk_payload=typed(body.get("on_disk_payload", True), "on_disk_payload", bool),
        hnsw_config=edge.HnswIndexConfig(**hnsw),
        quantization_config=quantization(body["quantization_config"]) if "quantization_config" in body else None,
    )
    return body, config


def vector_params(value):
    body = fields(value, "vectors", *VECTOR, required=["size", "distance"])
    if body["distance"] not in DISTANCES or whole(body["size"], "size") == 0:
        raise translate.malformed("data did not match any variant of untagged enum VectorsConfig")
    several = {"multivector_config": multivector(body["multivector_config"])} if "multivector_config" in body else {}
    return edge.EdgeVectorParams(
        body["size"], DISTANCES[body["distance"]], on_disk=typed(body.get("on_disk", False), "on_disk", bool), **several
    )


def multivector(value):
    fields(value, "multivector_config", "comparator", required=["comparator"])
    if value["comparator"] != "max_sim":
        raise translate.malformed(f"unknown variant `{value['comparator']}`, expected `max_sim`")
    return edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)


def sparse_params(value):
    body = fields(value, "sparse_vectors", "modifier")
    if "modifier" not in body:
        return edge.EdgeSparseVectorParams()
    if body["modifier"] not in MODIFIERS:
        raise translate.malformed(f"unknown variant `{body['modifier']}`, expected `idf`")
    return edge.EdgeSparseVectorParams(modifier=MODIFIERS[body["modifier"]])


def quantization(value):
    body = fields(value, "quantization_config", "scalar", "binary")
    if "scalar" in body:
        scalar = fields(body["scalar"], "scalar", "type", "quantile", "always_ram", required=["type"])
        if scalar["type"] != "int8":
            raise translate.malformed(f"unknown variant `{scalar['type']}`, expected `int8`")
        return edge.ScalarQuantizationConfig(**{**scalar, "type": edge.ScalarType.Int8})
    if "binary" in body:
        return edge.BinaryQuantizationConfig(**fields(body["binary"], "binary", "always_ram"))
    raise translate.malformed("data did not match any variant of untagged enum QuantizationConfig")


def strict_mode(value):
    switches = ("enabled", "unindexed_filtering_retrieve", "unindexed_filtering_update")
    numbers = ("max_query_limit", "filter_max_conditions")
    for name, one in fields(value, "strict_mode_config", *switches, *numbers).items():
        if name in switches:
            typed(one, name, bool)
        else:
            whole(one, name, 1)
