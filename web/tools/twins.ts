import { readFile, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import type { Plugin } from "vite";

const SQUEEZED = /\.(js|css|svg|json|txt|map)$/;
const WORTH_IT_BYTES = 1_024;

/** Beside each built file its .br and .gz twin, so that the server compresses nothing while it answers. */
export function twins(): Plugin {
  let folder = "";
  return {
    name: "twins",
    apply: "build",
    configResolved(config) {
      folder = join(config.root, config.build.outDir);
    },
    async closeBundle() {
      const files = await readdir(folder, { recursive: true });
      for (const file of files.filter((each) => SQUEEZED.test(each))) {
        await squeeze(join(folder, file));
      }
    },
  };
}

async function squeeze(path: string): Promise<void> {
  const content = await readFile(path);
  if (content.length < WORTH_IT_BYTES) return;
  const best = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
  await writeFile(`${path}.br`, await promisify(brotliCompress)(content, best));
  await writeFile(`${path}.gz`, await promisify(gzip)(content, { level: 9 }));
}
