package mcp

import (
	"context"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"batos"
	"batos/internal/door/access"
	"batos/internal/kernel"
)

// tasksExtension is the protocol's extension for long work, of 2026-07-28: a
// client that declares it may be given a task instead of a call's result. A
// task here is a message that is durable; its id is the message's, so it needs
// no state of its own and outlives the server.
const tasksExtension = "io.modelcontextprotocol/tasks"

// Methods of the extension.
const (
	methodTaskGet    = "tasks/get"
	methodTaskUpdate = "tasks/update"
	methodTaskCancel = "tasks/cancel"
)

const (
	// taskAfter is how long a call is waited for before it becomes a task.
	taskAfter = time.Second
	// taskPoll is how often a client is asked to look at most.
	taskPoll = 500 * time.Millisecond
	// taskKept is how long an outcome is kept at least.
	taskKept = 7 * 24 * time.Hour
)

// States of a task. What a message failed of is the result of a call, so no
// task fails.
const (
	taskWorking   = "working"
	taskCompleted = "completed"
	taskCancelled = "cancelled"
)

// Kinds of a result.
const (
	resultTask     = "task"
	resultComplete = "complete"
)

// task is both a call's answer (resultType task) and that of tasks/get.
type task struct {
	mcp.ResultBase
	ResultType     string              `json:"resultType"`
	TaskID         string              `json:"taskId"`
	Status         string              `json:"status"`
	StatusMessage  string              `json:"statusMessage,omitempty"`
	CreatedAt      time.Time           `json:"createdAt"`
	LastUpdatedAt  time.Time           `json:"lastUpdatedAt"`
	TTLMs          int64               `json:"ttlMs"`
	PollIntervalMs int64               `json:"pollIntervalMs"`
	Result         *mcp.CallToolResult `json:"result,omitempty"` // when completed
}

// acknowledged is the empty answer of tasks/update and tasks/cancel.
type acknowledged struct {
	mcp.ResultBase
	ResultType string `json:"resultType"`
}

// taskParams are those of all methods of the extension.
type taskParams struct {
	mcp.ParamsBase
	TaskID         string         `json:"taskId"`
	InputResponses map[string]any `json:"inputResponses,omitempty"` // of tasks/update
}

// extraKey is where a request's context holds what came with it.
type extraKey struct{}

// serveTasks makes s answer the extension's methods.
func (d *door) serveTasks(s *mcp.Server) error {
	if err := mcp.AddReceivingCustomMethod(s, methodTaskGet, d.taskGet); err != nil {
		return err
	}
	if err := mcp.AddReceivingCustomMethod(s, methodTaskUpdate, d.taskUpdate); err != nil {
		return err
	}
	return mcp.AddReceivingCustomMethod(s, methodTaskCancel, d.taskCancel)
}

// takesTasks reports whether the client of a call declares the extension.
func takesTasks(meta mcp.Meta) bool {
	capabilities, _ := meta[mcp.MetaKeyClientCapabilities].(map[string]any)
	extensions, _ := capabilities["extensions"].(map[string]any)
	_, ok := extensions[tasksExtension]
	return ok
}

// callOrTask is a call for a client that takes tasks: its result if that comes
// soon, else a task.
func (d *door) callOrTask(ctx context.Context, req kernel.Request) (mcp.Result, error) {
	h, err := d.config.Kernel.Hand(ctx, req)
	if err != nil {
		return failed(err), nil
	}
	soon := time.NewTimer(d.config.TaskAfter)
	defer soon.Stop()
	select {
	case <-h.Done():
	case <-soon.C:
	case <-ctx.Done():
	}
	o, err := h.Keep() // who is told of a task finds it
	if err != nil || o.State.Final() {
		return told(o, err), nil
	}
	t := d.taskOf(ctx, o)
	t.ResultType = resultTask
	return t, nil
}

// taskOf is a message as a task.
func (d *door) taskOf(ctx context.Context, o kernel.Outcome) *task {
	t := &task{
		ResultType: resultComplete, TaskID: string(o.ID), Status: taskWorking, CreatedAt: o.Received, LastUpdatedAt: o.Received,
		TTLMs: taskKept.Milliseconds(), PollIntervalMs: taskPoll.Milliseconds(),
	}
	if !o.Finished.IsZero() {
		t.LastUpdatedAt = o.Finished
	}
	switch {
	case o.State == batos.Ended:
		t.Status = taskCancelled
	case o.State.Final():
		t.Status, t.Result = taskCompleted, told(o, nil)
	case o.Err != nil: // a person must decide
		t.StatusMessage = o.Err.Text
	case o.Mission != 0:
		t.StatusMessage = "the method is being written: mission " + o.Mission.String()
		if m, err := d.config.Kernel.Mission(ctx, o.Mission); err == nil {
			t.StatusMessage += ", " + m.State
		}
	default:
		t.StatusMessage = "the message is " + string(o.State)
	}
	return t
}

// asked finds the message of a task, for a caller that has the scope.
func (d *door) asked(ctx context.Context, p *taskParams, s access.Scope) (*access.Caller, kernel.Outcome, error) {
	extra, _ := ctx.Value(extraKey{}).(*mcp.RequestExtra)
	who, err := d.may(extra, s)
	if err != nil {
		return nil, kernel.Outcome{}, err
	}
	o, err := d.config.Kernel.Peek(ctx, batos.MessageID(p.TaskID))
	if batos.CodeOf(err) == batos.NotFound {
		err = &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: "there is no task " + p.TaskID}
	}
	return who, o, err
}

func (d *door) taskGet(ctx context.Context, _ *mcp.ServerSession, p *taskParams) (*task, error) {
	_, o, err := d.asked(ctx, p, access.Read)
	if err != nil {
		return nil, err
	}
	return d.taskOf(ctx, o), nil
}

// taskUpdate takes answers to questions; no task here asks any.
func (d *door) taskUpdate(ctx context.Context, _ *mcp.ServerSession, p *taskParams) (*acknowledged, error) {
	_, _, err := d.asked(ctx, p, access.Read)
	if err != nil {
		return nil, err
	}
	return &acknowledged{ResultType: resultComplete}, nil
}

// taskCancel cancels the mission that a task waits for. A mission that others
// wait for too, or that a person must decide about, goes on: the protocol lets
// a server do so.
func (d *door) taskCancel(ctx context.Context, _ *mcp.ServerSession, p *taskParams) (*acknowledged, error) {
	who, o, err := d.asked(ctx, p, access.Synthesize)
	if err != nil {
		return nil, err
	}
	if o.Mission != 0 && o.Err == nil {
		m, err := d.config.Kernel.Mission(ctx, o.Mission)
		if err != nil && batos.CodeOf(err) != batos.NotFound { // not found: it was begun beside another change, and the message runs again
			return nil, err
		}
		if err == nil && len(m.Waiting) == 1 {
			if err := d.config.Kernel.Cancel(ctx, who.Person(), o.Mission); err != nil && batos.CodeOf(err) != batos.Conflict { // conflict: it was over
				return nil, err
			}
		}
	}
	return &acknowledged{ResultType: resultComplete}, nil
}
