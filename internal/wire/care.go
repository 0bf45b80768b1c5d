package wire

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Care is POST /api/v1/image/{verb}: look after the image that the server has
// open. Its answer is lines of JSON, a [CareEvent] each, as the work goes on.
// Who hangs up ends the work.
type Care struct {
	Verb string `json:"verb"`

	// Of pack: a tid or a time; also remove what is kept for ever otherwise.
	Before string `json:"before,omitempty"`
	Forget bool   `json:"forget,omitempty"`
	DryRun bool   `json:"dry_run,omitempty"`

	SkipBlobs bool   `json:"skip_blobs,omitempty"` // of verify
	Top       int    `json:"top,omitempty"`        // of stats: length of the lists; 0: 10
	Of        string `json:"of,omitempty"`         // of stats: list instead what refers to this object

	// Of backup and export: an absolute path on the machine of the server.
	Folder string `json:"folder,omitempty"`
	At     string `json:"at,omitempty"` // of export: a tid or a time; "": now

	// Of export: go on without what cannot be read, which are problems.
	Salvage bool `json:"salvage,omitempty"`
}

// The verbs of [Care].
const (
	CareVerify = "verify"
	CareStats  = "stats"
	CarePack   = "pack"
	CareBackup = "backup"
	CareExport = "export"
)

// CareEvent is one line of an answer: exactly one field is set. Result or Error
// is the last line.
type CareEvent struct {
	Progress *CareProgress `json:"progress,omitempty"`
	Problem  *CareProblem  `json:"problem,omitempty"`
	Result   *CareResult   `json:"result,omitempty"`
	Error    *Error        `json:"error,omitempty"`
}

// CareProgress is how far the work came.
type CareProgress struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Text  string `json:"text,omitempty"`
}

// CareProblem is one finding of verify, or a loss of an export that salvages.
type CareProblem struct {
	Kind   string     `json:"kind"`
	Text   string     `json:"text"`
	OID    string     `json:"oid,omitempty"`
	TID    string     `json:"tid,omitempty"`
	Since  string     `json:"since,omitempty"`
	Time   *time.Time `json:"time,omitempty"` // of since
	File   string     `json:"file,omitempty"`
	Offset int64      `json:"offset,omitempty"`
	Damage bool       `json:"damage"`
}

// CareResult is what came of it: one field, as the verb says.
type CareResult struct {
	Verify    *VerifyResult    `json:"verify,omitempty"`
	Stats     *StatsResult     `json:"stats,omitempty"`
	Referrers *ReferrersResult `json:"referrers,omitempty"`
	Pack      *PackResult      `json:"pack,omitempty"`
	Backup    *BackupResult    `json:"backup,omitempty"`
	Export    *ExportResult    `json:"export,omitempty"`
}

// VerifyResult says what verify looked at.
type VerifyResult struct {
	Transactions int64 `json:"transactions"`
	Revisions    int64 `json:"revisions"`
	Objects      int64 `json:"objects"`
	Trees        int64 `json:"trees"`
	Pages        int64 `json:"pages"`
	Problems     int   `json:"found"`
	Damage       int   `json:"damage"` // problems by which something is lost
}

// StatsResult is where the space goes. Sizes are bytes.
type StatsResult struct {
	Objects      int64       `json:"objects"`
	Transactions int64       `json:"transactions"`
	LogBytes     int64       `json:"log_bytes"`
	BlobBytes    int64       `json:"blob_bytes"`
	DiskFree     int64       `json:"disk_free,omitempty"`
	Growth       int64       `json:"growth_per_day,omitempty"` // of the log
	Warnings     []string    `json:"warnings,omitempty"`
	Kinds        []KindSpace `json:"kinds"`   // the largest first
	Biggest      []Space     `json:"biggest"` // by their newest state
	Busiest      []Space     `json:"busiest"` // by their past states
	Popular      []Popular   `json:"popular"` // that most others refer to
	Dangling     int64       `json:"dangling"`
}

// KindSpace is the space of one kind of object.
type KindSpace struct {
	Kind      string `json:"kind"`
	Count     int64  `json:"count"`
	Bytes     int64  `json:"bytes"`
	Past      int64  `json:"past"`
	PastBytes int64  `json:"past_bytes"`
	Blobs     int64  `json:"blobs"`
	BlobBytes int64  `json:"blob_bytes"`
}

// Space is one object or tree with its size.
type Space struct {
	Named
	Kind  string `json:"kind,omitempty"` // as in KindSpace; "": it is gone
	Bytes int64  `json:"bytes"`
}

// Popular is one object or tree and how many others refer to it.
type Popular struct {
	Named
	Kind string `json:"kind,omitempty"`
	From int64  `json:"from"`
}

// ReferrersResult lists what refers to one object.
type ReferrersResult struct {
	Of   string  `json:"of"`
	From []Named `json:"from"`
}

// PackResult says what pack removed, or would remove.
type PackResult struct {
	Before       string `json:"before"` // what it was packed to: open snapshots hold it back
	DryRun       bool   `json:"dry_run,omitempty"`
	Segments     int    `json:"segments"` // files rewritten
	Revisions    int64  `json:"revisions"`
	Transactions int64  `json:"transactions"`
	Messages     int    `json:"messages"`
	Kept         int64  `json:"kept"` // old revisions that stay
	Bytes        int64  `json:"bytes"`
	Blobs        int    `json:"blobs"`
	BlobBytes    int64  `json:"blob_bytes"`
}

// BackupResult says what backup copied.
type BackupResult struct {
	First     bool      `json:"first,omitempty"` // it was begun now
	Last      string    `json:"last"`            // the newest transaction in it
	Time      time.Time `json:"time"`
	LogBytes  int64     `json:"log_bytes"`
	Blobs     int       `json:"blobs"`
	BlobBytes int64     `json:"blob_bytes"`
}

// ExportResult counts what an export holds.
type ExportResult struct {
	At        string `json:"at"`
	Objects   int64  `json:"objects"`
	Trees     int64  `json:"trees"`
	Blobs     int64  `json:"blobs"`
	BlobBytes int64  `json:"blob_bytes"`
	Lost      int    `json:"lost,omitempty"` // problems
}

// maxCareLine bounds one line of an answer to [Care], in bytes.
const maxCareLine = 64 << 20

// Care asks the server to look after its image, calls tell for each progress
// and problem, and gives the result.
func (c *Client) Care(ctx context.Context, in Care, tell func(CareEvent)) (*CareResult, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	res, err := c.request(ctx, http.MethodPost, "/image/"+in.Verb, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20)) // what could be read is what there is to tell
		return nil, problem(res.Status, b)
	}
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, maxCareLine)
	for lines.Scan() {
		var e CareEvent
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("%w at %s: %w: %w", ErrNoServer, c.server, ErrBroken, err)
		}
		switch {
		case e.Result != nil:
			return e.Result, nil
		case e.Error != nil:
			return nil, e.Error.Err()
		}
		tell(e)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	err = lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("%w at %s: %w: %w", ErrNoServer, c.server, ErrBroken, err)
}
