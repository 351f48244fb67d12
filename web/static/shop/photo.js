// Shrinks a photo for the upload: upright, at most `sidePx` long, JPEG. Formats that the browser cannot
// decode (HEIC in most) are sent unchanged; the server decodes them.
const SMALL_FILE_BYTES = 1_500_000;
const QUALITY = 0.9;

export async function shrink(file, sidePx) {
  let picture;
  try {
    picture = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return file;
  }
  const scale = Math.min(1, sidePx / Math.max(picture.width, picture.height));
  if (scale === 1 && file.size < SMALL_FILE_BYTES) {
    picture.close();
    return file;
  }
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // transparent parts turn white, as the server makes them
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", QUALITY));
  return blob && blob.size < file.size ? blob : file;
}
