/** Conversion between float32 and float16 (IEEE 754 binary16), for JavaScript engines without Float16Array. */

/**
 * @param {Float32Array} numbers
 * @returns {Uint16Array} the bits of the nearest halves, ties to even
 */
export function toHalves(numbers) {
  const bits = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  return Uint16Array.from(bits, (single) => {
    const sign = (single >>> 16) & 0x8000;
    const magnitude = single & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00; // not a number
    if (magnitude >= 0x477ff000) return sign | 0x7c00; // 65520 and above
    const exponent = magnitude >>> 23;
    if (exponent < 102) return sign; // less than half of the smallest
    const normal = exponent > 112;
    const significand = normal ? magnitude - (112 << 23) : (magnitude & 0x7fffff) | 0x800000;
    const shift = normal ? 13 : 126 - exponent;
    const half = significand >>> shift;
    const rest = significand & (2 ** shift - 1);
    const middle = 2 ** (shift - 1);
    return sign | (half + (rest > middle || (rest === middle && half & 1) ? 1 : 0)); // a carry raises the exponent
  });
}

/**
 * @param {Uint16Array} halves their bits
 * @returns {Float32Array}
 */
export function fromHalves(halves) {
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1;
    const exponent = (half >>> 10) & 31;
    const fraction = half & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -14 * (fraction / 1024);
  });
}
