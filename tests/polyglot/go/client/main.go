// Command client uploads a CSV file, trains a generator on it, watches the job to its end and reads a probe, all
// through the gateway. Usage: client ADDRESS CSV_FILE, with the key in SIMULACRA_API_KEY. Prints one JSON object a line.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/ioutil"
	"log"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	pb "simulacra.dev/simulacra/v1"
)

const chunkSize = 1 << 16

func say(object map[string]interface{}) {
	line, err := json.Marshal(object)
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func upload(ctx context.Context, connection *grpc.ClientConn, file string) *pb.Connector {
	content, err := ioutil.ReadFile(file)
	check(err)
	stream, err := pb.NewUploadServiceClient(connection).Upload(ctx)
	check(err)
	size := int64(len(content))
	header := &pb.UploadHeader{
		UploadId:  fmt.Sprintf("go-%d", time.Now().UnixNano()),
		FileName:  filepath.Base(file),
		TotalSize: &size,
	}
	check(stream.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Header{Header: header}}))
	for offset := 0; offset < len(content); offset += chunkSize {
		end := offset + chunkSize
		if end > len(content) {
			end = len(content)
		}
		chunk := &pb.Chunk{Offset: int64(offset), Data: content[offset:end]}
		check(stream.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Chunk{Chunk: chunk}}))
	}
	digest := sha256.Sum256(content)
	sum := hex.EncodeToString(digest[:])
	check(stream.Send(&pb.UploadRequest{Part: &pb.UploadRequest_Finish{Finish: &pb.UploadFinish{Sha256: &sum}}}))
	reply, err := stream.CloseAndRecv()
	check(err)
	return reply.Connector
}

func watch(ctx context.Context, connection *grpc.ClientConn, id string) pb.ProgressStatus {
	stream, err := pb.NewJobServiceClient(connection).WatchJobs(ctx, &pb.WatchJobsRequest{JobIds: []string{id}})
	check(err)
	status := pb.ProgressStatus_PROGRESS_STATUS_UNSPECIFIED
	for {
		message, err := stream.Recv()
		if err == io.EOF {
			return status
		}
		check(err)
		if job := message.GetJob(); job != nil {
			status = job.GetProgress().GetStatus()
			say(map[string]interface{}{"event": "job", "revision": job.GetRevision(), "status": status.String()})
		}
	}
}

func main() {
	address, file := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv("SIMULACRA_API_KEY"))
	connection, err := grpc.DialContext(ctx, address, grpc.WithInsecure(), grpc.WithBlock())
	check(err)
	defer connection.Close()

	connector := upload(ctx, connection, file)
	name, epochs, rows, seed := "From Go", 2.0, int64(3), int64(1)
	generators := pb.NewGeneratorServiceClient(connection)
	generator, err := generators.CreateGenerator(ctx, &pb.CreateGeneratorRequest{Config: &pb.GeneratorConfig{
		Name: &name,
		Tables: []*pb.SourceTableConfig{{
			Name:               "people",
			SourceConnectorId:  &connector.Id,
			ModelConfiguration: &pb.ModelConfiguration{MaxEpochs: &epochs},
		}},
	}})
	check(err)
	columns := []string{}
	for _, column := range generator.Tables[0].Columns {
		columns = append(columns, column.Name)
	}
	say(map[string]interface{}{"event": "generator", "id": generator.Id, "columns": columns})

	job, err := generators.StartTraining(ctx, &pb.StartTrainingRequest{GeneratorId: generator.Id})
	check(err)
	if status := watch(ctx, connection, job.GetProgress().GetId()); status != pb.ProgressStatus_PROGRESS_STATUS_DONE {
		log.Fatalf("the training ended %s", status)
	}

	reply, err := pb.NewProbeServiceClient(connection).Probe(ctx, &pb.ProbeRequest{Config: &pb.SyntheticProbeConfig{
		GeneratorId: &generator.Id,
		Tables: []*pb.SyntheticTableConfig{{
			Name:          "people",
			Configuration: &pb.SyntheticTableConfiguration{SampleSize: &rows},
		}},
		Seed: &seed,
	}})
	check(err)
	probed := [][]string{}
	for _, row := range reply.Probes[0].Rows {
		names := []string{}
		for name := range row.Fields {
			names = append(names, name)
		}
		probed = append(probed, names)
	}
	say(map[string]interface{}{"event": "probe", "rows": probed})
}
