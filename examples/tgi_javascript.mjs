// TGI's guide to vision-language models, by Hugging Face's JavaScript client.
//
//     npm install @huggingface/inference
//     inlay serve
//     node examples/tgi_javascript.mjs [URL] [PICTURE]

import { readFileSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";

const [url = "http://127.0.0.1:3000", file = "examples/shapes.png"] = process.argv.slice(2);
const image = `data:image/png;base64,${readFileSync(file).toString("base64")}`;
const client = new InferenceClient().endpoint(url);

const stream = client.textGenerationStream({
  inputs: `![](${image})What is this a picture of?\n\n`,
  parameters: { max_new_tokens: 16, seed: 42 },
});
for await (const event of stream) {
  process.stdout.write(event.choices[0].text);
}
process.stdout.write("\n");
