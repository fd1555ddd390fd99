// How far neighbours go along with the points that are moved. Near is what is near along the face's outlines: the two
// lips of a shut mouth lie on each other, and only one of them is to move.

/**
 * @typedef {import("./points.js").Points} Points
 * @typedef {import("./service.js").Scheme} Scheme
 */

/**
 * Distances between all points along outlines, and across from each outline of a feature to its others.
 * @param {Scheme} scheme
 * @param {Points} shape the neutral shape, in crop units
 * @returns {number[][]} Infinity between features
 */
export function measureDistances(scheme, shape) {
  const distances = Array.from({ length: scheme.count }, (_, row) =>
    Array.from({ length: scheme.count }, (_, column) => (row === column ? 0 : Infinity)),
  );
  /** @type {(a: number, b: number) => number} */
  const measure = (a, b) => Math.hypot(shape[a][0] - shape[b][0], shape[a][1] - shape[b][1]);
  /** @type {(a: number, b: number) => void} */
  const join = (a, b) => {
    distances[a][b] = distances[b][a] = measure(a, b);
  };
  for (const { points, closed } of scheme.strokes) {
    points.forEach((point, place) => {
      const next = place + 1 < points.length ? points[place + 1] : closed ? points[0] : point;
      if (next !== point) join(point, next);
    });
  }
  for (const feature of Object.values(scheme.features)) {
    const strokes = scheme.strokes.map(({ points }) => points).filter(([first]) => feature.includes(first));
    for (const from of strokes) {
      // From the longer outline alone: a thin upper lip lies nearer to the lower lip's inner edge than its outer does.
      for (const to of strokes.filter((other) => other.length < from.length)) {
        for (const point of from) join(point, to.reduce((a, b) => (measure(point, b) < measure(point, a) ? b : a)));
      }
    }
  }
  for (let middle = 0; middle < scheme.count; middle++) {
    for (const row of distances) {
      if (row[middle] === Infinity) continue;
      for (let column = 0; column < scheme.count; column++) {
        row[column] = Math.min(row[column], row[middle] + distances[middle][column]);
      }
    }
  }
  return distances;
}

/**
 * 1 for the chosen points, falling smoothly to 0 at `radius` from the nearest of them. Pupils lie on no outline: one goes
 * with the other, or as far as its lids go in the mean, and takes neither lid along.
 * @param {number[][]} distances
 * @param {ReadonlySet<number>} chosen
 * @param {number} radius in crop units; 0: the chosen points alone
 * @param {readonly {pupil: number, lids: number[]}[]} eyes
 * @returns {number[]}
 */
export function weigh(distances, chosen, radius, eyes) {
  const weights = distances.map((row, point) => {
    if (chosen.has(point)) return 1;
    let nearest = Infinity;
    for (const other of chosen) nearest = Math.min(nearest, row[other]);
    return nearest < radius ? (1 + Math.cos((Math.PI * nearest) / radius)) / 2 : 0;
  });
  if (radius === 0) return weights;
  const looking = eyes.some(({ pupil, lids }) => chosen.has(pupil) && !lids.some((lid) => chosen.has(lid)));
  for (const { pupil, lids } of eyes) {
    if (chosen.has(pupil)) continue;
    weights[pupil] = looking ? 1 : lids.reduce((sum, lid) => sum + weights[lid], 0) / lids.length;
  }
  return weights;
}
