package openai

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"batos/internal/door/access"
	"batos/internal/door/doortest"
	"batos/internal/mind"
	"batos/internal/mind/mindtest"
)

func TestMain(m *testing.M) { doortest.Main(m) }

func served(t *testing.T, script *mindtest.Script) (*doortest.World, string) {
	t.Helper()
	var engine mind.Engine
	if script != nil {
		engine = script
	}
	w := doortest.Open(t, engine)
	s := httptest.NewServer(Handler(Config{Kernel: w.Kernel, Keys: w.Keys, Log: w.Log}))
	t.Cleanup(s.Close)
	return w, s.URL + "/v1"
}

// client is OpenAI's own.
func client(url, token string) openai.Client {
	return openai.NewClient(option.WithBaseURL(url), option.WithAPIKey(token), option.WithMaxRetries(0))
}

func TestOfficialClient(t *testing.T) {
	script := &mindtest.Script{Reply: func(int, mind.Request) mindtest.Answer { return mindtest.Answer{Text: "two words"} }}
	_, url := served(t, script)
	c := client(url, doortest.Token)

	list, err := c.Models.List(t.Context())
	if err != nil || len(list.Data) != 6 || list.Data[1].ID != "base" || list.Data[2].ID != "brick" {
		t.Fatalf("%+v, %v", list, err)
	}
	chat := openai.ChatCompletionNewParams{
		Model: "brick", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}, MaxCompletionTokens: openai.Int(20), Temperature: openai.Float(0),
		Stop: openai.ChatCompletionNewParamsStopUnion{OfString: openai.String("END")},
	}
	got, err := c.Chat.Completions.New(t.Context(), chat)
	if err != nil || got.Choices[0].Message.Content != "two words" || got.Choices[0].FinishReason != "stop" || got.Usage.CompletionTokens != 2 {
		t.Fatalf("%+v, %v", got, err)
	}
	asked := script.Asked()
	r := asked[len(asked)-1]
	if len(r.Chat) != 2 || r.Chat[0].Role != mind.System || !strings.Contains(r.Chat[0].Text, "BRICK") || r.Chat[1].Text != "hello" || r.MaxTokens != 20 || r.Stop[0] != "END" || r.Temperature != 0 {
		t.Errorf("the engine was asked %+v", r)
	}

	stream := c.Chat.Completions.NewStreaming(t.Context(), chat)
	text := ""
	for stream.Next() {
		if cs := stream.Current().Choices; len(cs) > 0 {
			text += cs[0].Delta.Content
		}
	}
	if err := stream.Err(); err != nil || text != "two words" {
		t.Errorf("streamed %q, %v", text, err)
	}

	plain, err := c.Completions.New(t.Context(), openai.CompletionNewParams{Model: "base", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("once")}})
	if err != nil || plain.Choices[0].Text != "two words" {
		t.Errorf("%+v, %v", plain, err)
	}
	if _, err := c.Models.Get(t.Context(), "robin"); err != nil {
		t.Error(err)
	}
}

func TestErrorsAreOfTheProtocol(t *testing.T) {
	w, url := served(t, &mindtest.Script{Reply: func(int, mind.Request) mindtest.Answer { return mindtest.Answer{Text: "x"} }})
	hello := []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}
	for _, c := range []struct {
		name, token, model string
		change             func(*openai.ChatCompletionNewParams)
		status             int
		code               string
	}{
		{"no token", "0000", "brick", nil, 401, "denied"},
		{"a reader's token", w.Give(t, access.Read), "brick", nil, 403, "denied"},
		{"an unknown model", doortest.Token, "gpt-9", nil, 404, "not_found"},
		{"two answers", doortest.Token, "brick", func(p *openai.ChatCompletionNewParams) { p.N = openai.Int(2) }, 400, "invalid"},
		{"no messages", doortest.Token, "brick", func(p *openai.ChatCompletionNewParams) { p.Messages = nil }, 400, "invalid"},
		{"too hot", doortest.Token, "brick", func(p *openai.ChatCompletionNewParams) { p.Temperature = openai.Float(9) }, 400, "invalid"},
	} {
		p := openai.ChatCompletionNewParams{Model: c.model, Messages: hello}
		if c.change != nil {
			c.change(&p)
		}
		cl := client(url, c.token)
		_, err := cl.Chat.Completions.New(t.Context(), p)
		var e *openai.Error
		if !errors.As(err, &e) || e.StatusCode != c.status || e.Code != c.code {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, body := range map[string]string{"no JSON": "{", "a picture": `{"model": "base", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}`, "an odd role": `{"model": "base", "messages": [{"role": "king", "content": "x"}]}`} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+doortest.Token)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		var e errorBody
		if err := json.NewDecoder(res.Body).Decode(&e); err != nil || res.StatusCode != 400 || e.Error.Code != "invalid" || e.Error.Message == "" {
			t.Errorf("%s: %s, %+v, %v", name, res.Status, e, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOffline(t *testing.T) {
	_, url := served(t, nil)
	cl := client(url, doortest.Token)
	_, err := cl.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "brick", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}})
	var e *openai.Error
	if !errors.As(err, &e) || e.StatusCode != 503 || !strings.Contains(e.Message, "cognitive core is offline") {
		t.Errorf("%v", err)
	}
	list, err := cl.Models.List(t.Context())
	if err != nil || len(list.Data) != 5 {
		t.Errorf("%+v, %v", list, err)
	}
}
