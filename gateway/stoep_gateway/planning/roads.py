"""Metres and seconds from place to place on the roads of an OpenStreetMap extract.

::

    ways -> flat arrays -> edges between junctions -> places on edges -> Dijkstra

All ways are one flat row of nodes. An edge is a chain of their segments between two junctions. A
place becomes a node on the edge nearest to it, so that a truck may stop, and turn, there. Turning
costs nothing, and no restriction of turns is regarded.

Needs the extra ``roads`` (pyosmium, scipy), and is to be run in a process that ends: a town takes
some hundred megabytes.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import osmium
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from stoep_gateway.planning.road_tags import Lorry, is_closed, speeds_kmh
from stoep_gateway.planning.roads_model import Found, Spot
from stoep_gateway.planning.ways import FARTHEST_M, RoadsError

__all__ = ["WaysOfMap", "matrix", "read"]

_OTHER_SIDE_M = 25.0  # farther, and the street of the right side is another street
_AT_CORNER_M = 5.0  # of a junction, where it matters little which of its roads is the nearest
_LEAST_MARGIN_M = 10_000.0  # of map around the places
_EARTH_M = 6_371_008.8  # mean radius, IUGG
_PIECE_M = 50.0
_AT_ONCE = 4_000_000  # distances in memory
_EVERYWHERE = (-90.0, -180.0, 90.0, 180.0)

# Dijkstra adds one number: milliseconds, and centimetres for the same way below them. Whole numbers
# up to 2**53 are exact: 18 h, 1300 km.
_SHIFT = 2.0**27

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def matrix(file: Path, spots: Sequence[Spot], lorry: Lorry, *, left: bool = False) -> Found:
    """Return the fastest ways between the spots; ``left``: traffic keeps to the left.

    Raises `RoadsError`.
    """
    count = len(spots)
    graph = _graph(read(file, lorry, _box(spots)), sum(it.lat for it in spots) / max(1, count))
    held = [_held(graph, spot, left) for spot in spots]
    off_m = np.array([math.inf if it is None else it.off_m for it in held])
    across = np.array([it is not None and it.across for it in held], dtype=bool)
    metres = np.full((count, count), -1, dtype=np.int32)
    seconds = metres.copy()
    nodes, arcs = _with_places(graph, [it for it in held if it is not None])
    rows = np.flatnonzero(np.isfinite(off_m))
    step = max(1, _AT_ONCE // max(1, arcs.shape[0]))
    for first in range(0, len(rows), step):
        total = dijkstra(arcs, indices=nodes[first : first + step])[:, nodes]
        here = np.ix_(rows[first : first + step], rows)
        leads = np.isfinite(total)
        milliseconds, centimetres = np.divmod(np.where(leads, total, 0.0), _SHIFT)
        metres[here] = np.where(leads, np.rint(centimetres / 100), -1)
        seconds[here] = np.where(leads, np.rint(milliseconds / 1000), -1)
    return Found(metres, seconds, off_m, across)


@dataclass(frozen=True, slots=True)
class WaysOfMap:
    """The nodes of all ways, one way after the other, each of ``sizes`` nodes."""

    refs: Ints
    lats: Floats
    lons: Floats
    sizes: Ints
    forward_kmh: Floats
    backward_kmh: Floats


@dataclass(frozen=True, slots=True)
class _Graph:
    """Edges between junctions, and the segments that they are made of, in metres on a plane.

    ``paces`` are the milliseconds for a metre along an edge and against it, infinite where nobody
    may drive. ``tree`` finds segments by the middles of pieces of them.
    """

    junctions: int
    starts: Ints
    ends: Ints
    lengths: Floats
    paces: Floats
    is_open: npt.NDArray[np.bool_]
    edge_of: Ints
    offsets: Floats
    a: Floats
    b: Floats
    tree: cKDTree
    segment_of: Ints
    scale: Floats


@dataclass(frozen=True, slots=True)
class _Held:
    """Where a place is on its edge, and in which directions a truck stops there.

    At a ``junction`` it is on all the roads of that.
    """

    edge: int
    at_m: float
    forward: bool
    backward: bool
    off_m: float
    across: bool
    junction: int | None


def _box(spots: Sequence[Spot]) -> tuple[float, float, float, float]:
    """Return the south, west, north and east of the map that matters."""
    lats, lons = [it.lat for it in spots], [it.lon for it in spots]
    south, west, north, east = min(lats), min(lons), max(lats), max(lons)
    degree_m = math.radians(_EARTH_M)
    across = max(0.01, math.cos(math.radians((south + north) / 2)))
    far_m = math.hypot(north - south, (east - west) * across) * degree_m
    margin = max(_LEAST_MARGIN_M, far_m / 2) / degree_m
    return south - margin, west - margin / across, north + margin, east + margin / across


def read(
    file: Path, lorry: Lorry, box: tuple[float, float, float, float] = _EVERYWHERE
) -> WaysOfMap:
    """Return the ways of a map that are in the box, of south, west, north and east, in part."""
    south, west, north, east = box
    refs, lats, lons = array("q"), array("d"), array("d")
    sizes, forward, backward = array("q"), array("d"), array("d")
    closed: set[int] = set()
    own = -(2**62)  # numbers of nodes that two ways do not share, although the map does
    try:
        found = (
            osmium.FileProcessor(str(file), osmium.osm.NODE | osmium.osm.WAY)
            .with_locations()
            .with_filter(osmium.filter.KeyFilter("highway", "barrier"))
        )
        for it in found:
            tags = {tag.k: tag.v for tag in it.tags}
            if isinstance(it, osmium.osm.Node) and is_closed(tags):
                closed.add(it.id)
            if not isinstance(it, osmium.osm.Way) or "highway" not in tags:
                continue
            speeds = speeds_kmh(tags, lorry)
            if not any(speeds):
                continue
            parts: list[list[tuple[int, float, float]]] = [[]]
            for node in it.nodes:
                if not node.location.valid():
                    parts.append([])
                    continue
                at = node.ref, node.lat, node.lon
                if node.ref in closed:
                    own -= 2
                    parts[-1].append((own, *at[1:]))
                    parts.append([(own + 1, *at[1:])])
                else:
                    parts[-1].append(at)
            for part in parts:
                if (
                    len(part) < 2
                    or max(it[1] for it in part) < south
                    or min(it[1] for it in part) > north
                    or max(it[2] for it in part) < west
                    or min(it[2] for it in part) > east
                ):
                    continue
                sizes.append(len(part))
                forward.append(speeds[0])
                backward.append(speeds[1])
                for ref, lat, lon in part:
                    refs.append(ref)
                    lats.append(lat)
                    lons.append(lon)
    except (OSError, RuntimeError) as error:
        raise RoadsError(str(error) or type(error).__name__) from error
    if not sizes:
        raise RoadsError("it has no road for a truck anywhere near")
    return WaysOfMap(
        np.array(refs, dtype=np.int64),
        np.array(lats),
        np.array(lons),
        np.array(sizes, dtype=np.int64),
        np.array(forward),
        np.array(backward),
    )


def _graph(ways: WaysOfMap, middle_lat: float) -> _Graph:
    ends_way = np.cumsum(ways.sizes) - 1
    starts_way = ends_way - ways.sizes + 1
    _, node_of, uses = np.unique(ways.refs, return_inverse=True, return_counts=True)
    is_junction = uses[node_of] > 1
    is_junction[starts_way] = is_junction[ends_way] = True

    starts = np.delete(np.arange(len(ways.refs)), ends_way)  # of segments, in the row of nodes
    way_of = np.repeat(np.arange(len(ways.sizes)), ways.sizes - 1)
    lengths = _metres_between(ways, starts)
    firsts = np.flatnonzero(is_junction[starts])  # segments that begin an edge
    edge_of = np.cumsum(is_junction[starts]) - 1
    lasts = np.append(firsts[1:], len(starts)) - 1
    so_far = np.cumsum(lengths) - lengths

    names, junction_of = np.unique(
        np.concatenate([node_of[starts[firsts]], node_of[starts[lasts] + 1]]), return_inverse=True
    )
    from_, to = np.split(junction_of, 2)
    way = way_of[firsts]
    with np.errstate(divide="ignore"):
        paces = 3600.0 / np.stack([ways.forward_kmh[way], ways.backward_kmh[way]])
    scale = math.radians(_EARTH_M) * np.array([math.cos(math.radians(middle_lat)), 1.0])
    plane = np.column_stack([ways.lons, ways.lats]) * scale
    a, b = plane[starts], plane[starts + 1]

    pieces = np.maximum(1, np.ceil(lengths / _PIECE_M)).astype(np.int64)
    segment_of = np.repeat(np.arange(len(starts)), pieces)
    number = np.arange(len(segment_of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = ((number + 0.5) / pieces[segment_of])[:, None]
    edge_lengths = np.add.reduceat(lengths, firsts)
    arcs = _arcs(len(names), *_both_ways(from_, to, edge_lengths, paces))
    _, part_of = connected_components(arcs, directed=True, connection="strong")
    largest = np.bincount(part_of).argmax()
    return _Graph(
        junctions=len(names),
        starts=from_,
        ends=to,
        lengths=edge_lengths,
        paces=paces,
        is_open=(part_of[from_] == largest) & (part_of[to] == largest),
        edge_of=edge_of,
        offsets=so_far - so_far[firsts][edge_of],
        a=a,
        b=b,
        tree=cKDTree(a[segment_of] * (1 - share) + b[segment_of] * share),
        segment_of=segment_of,
        scale=scale,
    )


def _metres_between(ways: WaysOfMap, starts: Ints) -> Floats:
    """Return the lengths of segments (haversine)."""
    lats, lons = np.radians(ways.lats), np.radians(ways.lons)
    half_lat = (lats[starts + 1] - lats[starts]) / 2
    half_lon = (lons[starts + 1] - lons[starts]) / 2
    cosines = np.cos(lats[starts]) * np.cos(lats[starts + 1])
    chord = np.sin(half_lat) ** 2 + cosines * np.sin(half_lon) ** 2
    metres: Floats = 2 * _EARTH_M * np.arcsin(np.sqrt(chord))
    return metres


def _both_ways(
    starts: Ints, ends: Ints, lengths: Floats, paces: Floats
) -> tuple[Ints, Ints, Floats, Floats]:
    return (
        np.concatenate([starts, ends]),
        np.concatenate([ends, starts]),
        np.concatenate([lengths, lengths]),
        paces.ravel(),
    )


def _arcs(size: int, starts: Ints, ends: Ints, lengths: Floats, paces: Floats) -> Any:
    """Return the graph as a sparse matrix: the fastest of the arcs from one node to another."""
    drives = np.isfinite(paces) & (starts != ends)
    starts, ends, lengths = starts[drives], ends[drives], lengths[drives]
    weights = np.rint(lengths * paces[drives]) * _SHIFT + np.rint(100 * lengths)
    weights = np.maximum(1.0, weights)  # 0 would be no arc
    order = np.lexsort((weights, ends, starts))
    starts, ends, weights = starts[order], ends[order], weights[order]
    first = np.ones(len(starts), dtype=bool)
    first[1:] = (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1])
    found = coo_matrix((weights[first], (starts[first], ends[first])), shape=(size, size))
    return csr_matrix(found)


def _held(graph: _Graph, spot: Spot, left: bool) -> _Held | None:
    """Return where the road nearest to a spot is that can be reached, and left again."""
    here = np.array([spot.lon, spot.lat]) * graph.scale
    pieces = graph.tree.query_ball_point(here, FARTHEST_M + _PIECE_M)
    near = np.unique(graph.segment_of[np.array(pieces, dtype=np.int64)])
    near = near[graph.is_open[graph.edge_of[near]]]
    if not len(near):
        return None
    a, along = graph.a[near], graph.b[near] - graph.a[near]
    squares = np.maximum((along**2).sum(axis=1), 1e-9)
    share = np.clip(((here - a) * along).sum(axis=1) / squares, 0.0, 1.0)
    off_m = np.hypot(*(here - a - along * share[:, None]).T)
    cross = along[:, 0] * (here - a)[:, 1] - along[:, 1] * (here - a)[:, 0]  # > 0: on the left
    drives = np.isfinite(graph.paces[:, graph.edge_of[near]])
    best = int(off_m.argmin())
    if off_m[best] > FARTHEST_M:
        return None
    across = False
    if spot.near:
        on_it = off_m < 0.5
        own_side = drives & np.stack([on_it | ((cross > 0) == left), on_it | ((cross < 0) == left)])
        might = own_side.any(axis=0) & (off_m <= off_m[best] + _OTHER_SIDE_M)
        across = not might.any()
        if not across:
            best = int(np.where(might, off_m, math.inf).argmin())
            drives = own_side
    segment = near[best]
    edge = int(graph.edge_of[segment])
    long_m = float(graph.lengths[edge])
    at_m = min(
        float(graph.offsets[segment] + share[best] * math.sqrt(squares[best])),
        long_m,
    )
    junction = None
    if not spot.near and min(at_m, long_m - at_m) < _AT_CORNER_M:
        junction = int(graph.starts[edge] if at_m < long_m / 2 else graph.ends[edge])
    forward, backward = bool(drives[0, best]), bool(drives[1, best])
    return _Held(edge, at_m, forward, backward, float(off_m[best]), across, junction)


def _with_places(graph: _Graph, held: Sequence[_Held]) -> tuple[Ints, Any]:
    """Return the nodes of places, and the graph with them: edges have them in between."""
    by_edge: dict[int, list[int]] = {}
    for number, it in enumerate(held):
        if it.junction is None:
            by_edge.setdefault(it.edge, []).append(number)
    starts, ends, lengths, paces = [], [], [], []
    for edge, numbers in by_edge.items():
        numbers.sort(key=lambda number: held[number].at_m)
        a, b, long_m = int(graph.starts[edge]), int(graph.ends[edge]), float(graph.lengths[edge])
        for direction in (0, 1):
            its = [it for it in numbers if (held[it].forward, held[it].backward)[direction]]
            chain = [(a, 0.0), *((graph.junctions + it, held[it].at_m) for it in its), (b, long_m)]
            for (one, one_m), (other, other_m) in itertools.pairwise(chain):
                starts.append(other if direction else one)
                ends.append(one if direction else other)
                lengths.append(other_m - one_m)
                paces.append(float(graph.paces[direction, edge]))
    base = _both_ways(graph.starts, graph.ends, graph.lengths, graph.paces)
    more = (
        np.array(starts, dtype=np.int64),
        np.array(ends, dtype=np.int64),
        np.array(lengths),
        np.array(paces),
    )
    size = graph.junctions + len(held)
    nodes = [
        graph.junctions + number if it.junction is None else it.junction
        for number, it in enumerate(held)
    ]
    return (
        np.array(nodes, dtype=np.int64),
        _arcs(size, *(np.concatenate(pair) for pair in zip(base, more, strict=True))),
    )
