"""Native libraries on the same data, one thread each. Runs in an environment of its own, of which the project knows nothing:

    python native_peers.py LIBRARY FOLDER '{"M": 32, "ef_construction": 200, "efs": [...]}'

LIBRARY: hnswlib, faiss, faiss-sq8, usearch, usearch-i8. Prints one line of JSON, as ours.measure returns it.
"""

import json
import os
import sys
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402


class Hnswlib:
    def __init__(self, dim, count, M, ef_construction):
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(count, ef_construction=ef_construction, M=M, random_seed=1)
        self.index.set_num_threads(1)

    def add(self, ids, rows):
        self.index.add_items(rows, ids)

    def width(self, ef):
        self.index.set_ef(ef)

    def search(self, query):
        return self.index.knn_query(query, 10)[0][0]

    def bytes(self):
        return self.index.index_file_size()


class Faiss:
    def __init__(self, dim, count, M, ef_construction, codes=False):
        import faiss

        faiss.omp_set_num_threads(1)
        inner = faiss.METRIC_INNER_PRODUCT
        self.index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, M, inner) if codes else faiss.IndexHNSWFlat(dim, M, inner)
        self.index.hnsw.efConstruction = ef_construction
        self.faiss = faiss

    def add(self, ids, rows):
        if not self.index.is_trained:
            self.index.train(rows)
        self.index.add(rows)

    def width(self, ef):
        self.index.hnsw.efSearch = ef

    def search(self, query):
        return self.index.search(query[None], 10)[1][0]

    def bytes(self):
        return len(self.faiss.serialize_index(self.index))


class Usearch:
    def __init__(self, dim, count, M, ef_construction, dtype="f32"):
        from usearch.index import Index

        self.index = Index(ndim=dim, metric="ip", dtype=dtype, connectivity=M, expansion_add=ef_construction)

    def add(self, ids, rows):
        self.index.add(ids, rows, threads=1)

    def width(self, ef):
        self.index.expansion_search = ef

    def search(self, query):
        return self.index.search(query, 10, threads=1).keys

    def bytes(self):
        return self.index.serialized_length


LIBRARIES = {
    "hnswlib": Hnswlib,
    "faiss": Faiss,
    "faiss-sq8": lambda *shape: Faiss(*shape, codes=True),
    "usearch": Usearch,
    "usearch-i8": lambda *shape: Usearch(*shape, dtype="i8"),
}


def main() -> None:
    library, folder, given = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    shape = json.loads((folder / "shape.json").read_text())
    count, dim = shape["count"], shape["dim"]
    queries = np.fromfile(folder / "queries.f32", np.float32).reshape(-1, dim)
    truth = np.fromfile(folder / "truth.i32", np.int32).reshape(-1, 10).tolist()
    index = LIBRARIES[library](dim, count, given["M"], given["ef_construction"])
    spent = 0.0
    start, number = 0, 0
    while start < count:
        rows = np.fromfile(folder / f"base.{number}.f32", np.float32).reshape(-1, dim)
        begun = time.process_time()
        index.add(np.arange(start, start + len(rows)), rows)
        spent += time.process_time() - begun
        start, number = start + len(rows), number + 1
    points = []
    for ef in given["efs"]:
        index.width(ef)
        for query in queries[:20]:
            index.search(query)
        found, times = [], []
        for query in queries:
            begun = time.perf_counter()
            hits = index.search(query)
            times.append(time.perf_counter() - begun)
            found.append(np.asarray(hits).tolist())
        recall = np.mean([len(set(row) & set(best)) for row, best in zip(found, truth, strict=True)]) / 10
        p50, p95 = np.percentile(times, (50, 95)) * 1000
        points.append([ef, round(float(recall), 4), round(float(p50), 4), round(float(p95), 4)])
    print(json.dumps({"engine": "native", "build seconds": round(spent, 1), "bytes": index.bytes(), "points": points}))  # noqa: T201


if __name__ == "__main__":
    main()
