package catalog

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"batos"
)

// Text is what a file says.
type Text struct {
	Body string
	Kind string // text, markdown, html, source, pdf
}

// maxFile bounds a file, in bytes.
const maxFile = 64 << 20

var sourceEndings = strings.Fields(".go .py .js .ts .tsx .jsx .c .h .cc .cpp .hpp .rs .java .rb .php .sh .star .sql .proto .toml .yaml .yml .json .mod .css .lua .swift .kt .cs .s .asm .pl .r .jl .hs .ml .ex .exs .erl .zig .vue")

// Read reads a file as text: plain text, Markdown, HTML, source code, or PDF if
// pdftotext is installed. The error is invalid, and says why, for what cannot
// be read.
func Read(ctx context.Context, path string) (Text, error) {
	st, err := os.Stat(path)
	if err != nil {
		return Text{}, batos.Errorf(batos.NotFound, "%s: there is no such file", path)
	}
	if !st.Mode().IsRegular() {
		return Text{}, batos.Errorf(batos.Invalid, "%s is no file", path)
	}
	if st.Size() > maxFile {
		return Text{}, batos.Errorf(batos.Limit, "%s has %d MiB, more than %d are not read", path, st.Size()>>20, maxFile>>20)
	}
	ending := strings.ToLower(filepath.Ext(path))
	if ending == ".pdf" {
		return readPDF(ctx, path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return Text{}, batos.Errorf(batos.Denied, "%s cannot be read: %w", path, err)
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	if bytes.IndexByte(b, 0) >= 0 || !utf8.Valid(b) {
		return Text{}, batos.Errorf(batos.Invalid, "%s is no text in UTF-8", path)
	}
	body := strings.ReplaceAll(string(b), "\r\n", "\n")
	t := Text{Body: body, Kind: "text"}
	switch {
	case ending == ".md" || ending == ".markdown":
		t.Kind = "markdown"
	case ending == ".html" || ending == ".htm":
		t.Kind = "html"
		if t.Body, err = htmlText(body); err != nil {
			return Text{}, batos.Errorf(batos.Invalid, "%s: %w", path, err)
		}
	case slices.Contains(sourceEndings, ending):
		t.Kind = "source"
	}
	if strings.TrimSpace(t.Body) == "" {
		return Text{}, batos.Errorf(batos.Invalid, "%s says nothing", path)
	}
	return t, nil
}

// htmlText is what a reader of a page sees, its title first, with a line for
// each block.
func htmlText(page string) (string, error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return "", err
	}
	var b strings.Builder
	var walk func(n *html.Node, depth int)
	walk = func(n *html.Node, depth int) {
		if depth > 512 {
			return
		}
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case n.Type == html.ElementNode && (n.DataAtom == atom.Script || n.DataAtom == atom.Style || n.DataAtom == atom.Template):
			return
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c, depth+1)
		}
		if n.Type == html.ElementNode {
			switch n.DataAtom {
			case atom.Title, atom.P, atom.Div, atom.Section, atom.Article, atom.H1, atom.H2, atom.H3, atom.H4, atom.Ul, atom.Ol, atom.Pre, atom.Table, atom.Blockquote:
				b.WriteString("\n\n")
			case atom.Br, atom.Li, atom.Tr:
				b.WriteString("\n")
			case atom.Td, atom.Th:
				b.WriteString(" ")
			}
		}
	}
	walk(root, 0)
	lines := strings.Split(b.String(), "\n")
	for i, l := range lines {
		lines[i] = strings.Join(strings.Fields(l), " ")
	}
	out := strings.Join(lines, "\n")
	for strings.Contains(out, "\n\n\n") {
		out = strings.ReplaceAll(out, "\n\n\n", "\n\n")
	}
	return strings.TrimSpace(out), nil
}

// readPDF lets poppler's pdftotext read, in a process of its own.
func readPDF(ctx context.Context, path string) (Text, error) {
	program, err := exec.LookPath("pdftotext")
	if err != nil {
		return Text{}, batos.Errorf(batos.Invalid, "%s: to read PDF, install pdftotext (Debian: poppler-utils)", path)
	}
	abs, err := filepath.Abs(path) // a name that begins with - is no option
	if err != nil {
		return Text{}, err
	}
	out, err := exec.CommandContext(ctx, program, "-enc", "UTF-8", "-nopgbrk", abs, "-").Output()
	if err != nil {
		return Text{}, batos.Errorf(batos.Invalid, "%s cannot be read as PDF: %w", path, err)
	}
	body := strings.ToValidUTF8(string(out), "\uFFFD")
	if strings.TrimSpace(body) == "" {
		return Text{}, batos.Errorf(batos.Invalid, "%s holds no text: it may be pictures of pages", path)
	}
	return Text{Body: body, Kind: "pdf"}, nil
}
