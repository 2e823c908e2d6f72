/**
 * The state of the generator MT19937 after seeding, as Python, NumPy and torch keep it (Matsumoto and Nishimura 1998, and their
 * `mt19937ar` of 2002). Pure; no random number is drawn.
 */

/** Words of the state. */
export const WORDS = 624

/** `init_genrand`: how NumPy (`RandomState.seed`) and torch seed. `seed`: its lower 32 bits count. */
export const seededByNumber = (seed: number): Uint32Array => {
  const state = new Uint32Array(WORDS)
  state[0] = seed % 2 ** 32
  for (let i = 1; i < WORDS; i++) {
    const last = state[i - 1]!
    state[i] = Math.imul(1_812_433_253, last ^ (last >>> 30)) + i
  }
  return state
}

/** `init_by_array` of the 32-bit words of `seed`, the lowest first: how Python seeds. `seed`: a whole number from 0. */
export const seededByWords = (seed: number): Uint32Array => {
  const key = seed < 2 ** 32 ? [seed] : [seed % 2 ** 32, Math.floor(seed / 2 ** 32)]
  const state = seededByNumber(19_650_218)
  let i = 1
  const next = (value: number): void => {
    state[i] = value
    if (++i < WORDS) return
    state[0] = state[WORDS - 1]!
    i = 1
  }
  const mixed = (factor: number): number => state[i]! ^ Math.imul(state[i - 1]! ^ (state[i - 1]! >>> 30), factor)
  for (let k = 0; k < WORDS; k++) next(mixed(1_664_525) + key[k % key.length]! + k % key.length)
  for (let k = 1; k < WORDS; k++) next(mixed(1_566_083_941) - i)
  state[0] = 2 ** 31
  return state
}
