// Draws maps over images: the browser colours the grey maps itself, so that the sliders need no answer of the server.

// The colours of matplotlib's inferno, whose lightness rises evenly: six hexadecimal digits each.
const INFERNO =
  "00000401000501010601010802010a02020c02020e03021004031204031405041706041907051b08051d09061f0a0722" +
  "0b07240c08260d08290e092b10092d110a30120a32140b34150b37160b39180c3c190c3e1b0c411c0c431e0c451f0c48" +
  "210c4a230c4c240c4f260c51280b53290b552b0b572d0b592f0a5b310a5c320a5e340a5f3609613809623909633b0964" +
  "3d09653e0966400a67420a68440a68450a69470b6a490b6a4a0c6b4c0c6b4d0d6c4f0d6c510e6c520e6d540f6d550f6d" +
  "57106e59106e5a116e5c126e5d126e5f136e61136e62146e64156e65156e67166e69166e6a176e6c186e6d186e6f196e" +
  "71196e721a6e741a6e751b6e771c6d781c6d7a1d6d7c1d6d7d1e6d7f1e6c801f6c82206c84206b85216b87216b88226a" +
  "8a226a8c23698d23698f24699025689225689326679526679727669827669a28659b29649d29649f2a63a02a63a22b62" +
  "a32c61a52c60a62d60a82e5fa92e5eab2f5ead305dae305cb0315bb1325ab3325ab43359b63458b73557b93556ba3655" +
  "bc3754bd3853bf3952c03a51c13a50c33b4fc43c4ec63d4dc73e4cc83f4bca404acb4149cc4248ce4347cf4446d04545" +
  "d24644d34743d44842d54a41d74b3fd84c3ed94d3dda4e3cdb503bdd513ade5238df5337e05536e15635e25734e35933" +
  "e45a31e55c30e65d2fe75e2ee8602de9612bea632aeb6429eb6628ec6726ed6925ee6a24ef6c23ef6e21f06f20f1711f" +
  "f1731df2741cf3761bf37819f47918f57b17f57d15f67e14f68013f78212f78410f8850ff8870ef8890cf98b0bf98c0a" +
  "f98e09fa9008fa9207fa9407fb9606fb9706fb9906fb9b06fb9d07fc9f07fca108fca309fca50afca60cfca80dfcaa0f" +
  "fcac11fcae12fcb014fcb216fcb418fbb61afbb81dfbba1ffbbc21fbbe23fac026fac228fac42afac62df9c72ff9c932" +
  "f9cb35f8cd37f8cf3af7d13df7d340f6d543f6d746f5d949f5db4cf4dd4ff4df53f4e156f3e35af3e55df2e661f2e865" +
  "f2ea69f1ec6df1ed71f1ef75f1f179f2f27df2f482f3f586f3f68af4f88ef5f992f6fa96f8fb9af9fc9dfafda1fcffa4";

const colors = Uint8Array.from(INFERNO.match(/../g), (digits) => parseInt(digits, 16));

const images = new Map();

// An image that is loaded once, however often it is drawn.
export function load(address) {
  if (!images.has(address)) {
    images.set(
      address,
      new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = () => resolve(image);
        image.onerror = () => reject(new Error(`${address} cannot be loaded`));
        image.src = address;
      }),
    );
    if (images.size > 400) images.delete(images.keys().next().value);
  }
  return images.get(address);
}

function pixels(image, width, height) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

// For each of `count` pixels: the two cells of a grid of `cells` between whose centres it lies, and how far along.
function between(cells, count) {
  return Array.from({ length: count }, (_, at) => {
    const place = Math.min(cells - 1, Math.max(0, ((at + 0.5) * cells) / count - 0.5));
    const first = Math.floor(place);
    return [first, Math.min(cells - 1, first + 1), place - first];
  });
}

// The map at the size of a canvas, interpolated as scores are, as shares of its maximum there.
export function shares(map, width, height) {
  const [columns, rows] = [map.naturalWidth, map.naturalHeight];
  const data = pixels(map, columns, rows).data;
  const grid = Float32Array.from({ length: columns * rows }, (_, at) => data[4 * at]);
  const across = between(columns, width);
  const down = between(rows, height);
  const values = new Float32Array(width * height);
  let most = 0;
  for (let row = 0, at = 0; row < height; row++) {
    const [upper, lower, share] = down[row];
    for (let column = 0; column < width; column++, at++) {
      const [left, right, part] = across[column];
      const above = grid[upper * columns + left] * (1 - part) + grid[upper * columns + right] * part;
      const below = grid[lower * columns + left] * (1 - part) + grid[lower * columns + right] * part;
      values[at] = above * (1 - share) + below * share;
      if (values[at] > most) most = values[at];
    }
  }
  if (most > 0) for (let at = 0; at < values.length; at++) values[at] /= most;
  return { values };
}

// Draws a map over a photo: a line where it crosses the threshold, and nothing of it below.
export function paint(canvas, photo, map, { opacity, threshold }) {
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const picture = photo === null ? context.createImageData(width, height) : pixels(photo, width, height);
  const { values } = map;
  const data = picture.data;
  for (let at = 0, byte = 0; at < values.length; at++, byte += 4) {
    const value = values[at];
    data[byte + 3] = 255;
    if (value <= threshold) continue;
    const left = at % width > 0 ? values[at - 1] : value;
    const above = at >= width ? values[at - width] : value;
    const right = at % width < width - 1 ? values[at + 1] : value;
    const below = at + width < values.length ? values[at + width] : value;
    if (threshold > 0 && Math.min(left, above, right, below) <= threshold) {
      data[byte] = data[byte + 1] = data[byte + 2] = 255;
      continue;
    }
    const strength = opacity * value ** 0.7;
    const color = 3 * Math.min(255, Math.round(value * 255));
    for (let channel = 0; channel < 3; channel++) {
      data[byte + channel] = (1 - strength) * data[byte + channel] + strength * colors[color + channel];
    }
  }
  context.putImageData(picture, 0, 0);
}

// Fits an image into a box, in whole pixels.
export function fit(canvas, image, side) {
  const scale = Math.min(1, side / Math.max(image.naturalWidth, image.naturalHeight));
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
}
