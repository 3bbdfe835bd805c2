// Uploads a CSV file, trains a generator on it, watches the job to its end and reads a probe, all through the gateway.
// Usage: node client.js PROTO_FOLDER ADDRESS CSV_FILE, with the key in SIMULACRA_API_KEY. Prints one JSON object a line.

const fs = require("fs");
const path = require("path");
const crypto = require("crypto");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [protoFolder, address, csvFile] = process.argv.slice(2);
const files = ["upload", "generator", "job", "probe"].map((name) => `simulacra/v1/${name}.proto`);
const definition = loader.loadSync(files, { includeDirs: [protoFolder], keepCase: true, enums: String, longs: Number });
const { v1 } = grpc.loadPackageDefinition(definition).simulacra;

const plaintext = grpc.credentials.createInsecure();
const metadata = new grpc.Metadata();
metadata.set("authorization", `Bearer ${process.env.SIMULACRA_API_KEY}`);

const say = (object) => console.log(JSON.stringify(object));
const deadline = () => ({ deadline: Date.now() + 10_000 });
const unary = (client, method, request) =>
  new Promise((resolve, reject) =>
    client[method](request, metadata, deadline(), (error, reply) => (error ? reject(error) : resolve(reply))),
  );

function upload(file) {
  return new Promise((resolve, reject) => {
    const content = fs.readFileSync(file);
    const client = new v1.UploadService(address, plaintext);
    const call = client.Upload(metadata, (error, reply) => (error ? reject(error) : resolve(reply.connector)));
    call.write({ header: { upload_id: crypto.randomUUID(), file_name: path.basename(file), total_size: content.length } });
    for (let offset = 0; offset < content.length; offset += 1 << 16) {
      call.write({ chunk: { offset, data: content.subarray(offset, offset + (1 << 16)) } });
    }
    call.write({ finish: { sha256: crypto.createHash("sha256").update(content).digest("hex") } });
    call.end();
  });
}

async function watch(jobs, id) {
  const call = jobs.WatchJobs({ job_ids: [id] }, metadata);
  let status;
  for await (const { job } of call) {
    if (!job) continue;
    status = job.progress.status;
    say({ event: "job", revision: job.revision, status });
  }
  return status;
}

async function main() {
  const connector = await upload(csvFile);
  const generators = new v1.GeneratorService(address, plaintext);
  const table = {
    name: "people",
    source_connector_id: connector.id,
    model_configuration: { max_epochs: 2 },
  };
  const generator = await unary(generators, "CreateGenerator", { config: { name: "From Node", tables: [table] } });
  say({ event: "generator", id: generator.id, columns: generator.tables[0].columns.map((column) => column.name) });
  const started = await unary(generators, "StartTraining", { generator_id: generator.id });
  const status = await watch(new v1.JobService(address, plaintext), started.progress.id);
  if (status !== "PROGRESS_STATUS_DONE") throw new Error(`the training ended ${status}`);

  const probes = new v1.ProbeService(address, plaintext);
  const config = { generator_id: generator.id, tables: [{ name: "people", configuration: { sample_size: 3 } }], seed: 1 };
  const { probes: tables } = await unary(probes, "Probe", { config });
  say({ event: "probe", rows: tables[0].rows.map((row) => Object.keys(row.fields)) });
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
