/** Where the simplex is small enough, and how many steps it gets. */
const TOLERANCE = 1e-12;
const MAX_STEPS = 400;

/** First steps away from the start. */
const SPREAD = 0.5;

interface Vertex {
  at: number[];
  value: number;
}

/**
 * The least value of a smooth function of a few numbers (Nelder and Mead, 1965), the best from several starts.
 */
export function minimize(
  f: (at: readonly number[]) => number,
  starts: readonly (readonly number[])[],
): Vertex {
  const found = starts.map((start) => descend(f, start));
  return found.reduce((best, each) => (each.value < best.value ? each : best));
}

function descend(f: (at: readonly number[]) => number, start: readonly number[]): Vertex {
  const vertex = (at: number[]): Vertex => {
    const value = f(at);
    return { at, value: Number.isNaN(value) ? Infinity : value };
  };
  const simplex = [
    vertex([...start]),
    ...start.map((_, axis) => vertex(start.map((x, i) => (i === axis ? x + SPREAD : x)))),
  ];
  const order = (): void => {
    simplex.sort((a, b) => a.value - b.value);
  };
  order();
  for (let step = 0; step < MAX_STEPS; step++) {
    const worst = simplex.at(-1)!;
    if (worst.value - simplex[0]!.value <= TOLERANCE * (1 + simplex[0]!.value)) break;
    const others = simplex.slice(0, -1);
    const centre = start.map((_, i) => others.reduce((sum, { at }) => sum + at[i]!, 0) / others.length);
    const along = (factor: number): Vertex => vertex(centre.map((x, i) => x + factor * (worst.at[i]! - x)));
    const reflected = along(-1);
    let next = reflected;
    if (reflected.value < simplex[0]!.value) {
      const expanded = along(-2);
      if (expanded.value < reflected.value) next = expanded;
    } else if (reflected.value >= others.at(-1)!.value) {
      next = along(reflected.value < worst.value ? -0.5 : 0.5);
      if (next.value >= Math.min(reflected.value, worst.value)) {
        const best = simplex[0]!.at;
        for (let i = 1; i < simplex.length; i++) {
          simplex[i] = vertex(simplex[i]!.at.map((x, axis) => (x + best[axis]!) / 2));
        }
        order();
        continue;
      }
    }
    simplex[simplex.length - 1] = next;
    order();
  }
  return simplex[0]!;
}
