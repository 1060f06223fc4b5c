/** Lists in order, for entries of which no two are equal in it: put in and taken out by halving. */
function placeOf<T>(list: readonly T[], entry: T, compare: (a: T, b: T) => number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compare(list[middle]!, entry) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function insert<T>(list: T[], entry: T, compare: (a: T, b: T) => number): void {
  list.splice(placeOf(list, entry, compare), 0, entry);
}

/** Whether it was there. */
export function withdraw<T>(list: T[], entry: T, compare: (a: T, b: T) => number): boolean {
  const place = placeOf(list, entry, compare);
  if (list[place] !== entry) return false;
  list.splice(place, 1);
  return true;
}
