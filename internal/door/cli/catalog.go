package cli

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"batos"
	"batos/internal/catalog"
	"batos/internal/wire"
	"batos/object"
)

// catalogTarget is the object that the commands talk to.
const catalogTarget = "knowledge_catalog_obj"

// catalog fills and asks the knowledge catalog.
func (a *App) catalog() *cobra.Command {
	c := &cobra.Command{
		Use: "catalog", Short: "The knowledge catalog: documents that are found by what they say", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return batos.Errorf(batos.Invalid, "say what: add, search, list, reindex or rm")
		},
	}
	c.AddCommand(a.catalogAdd(), a.catalogSearch(), a.catalogList(), a.catalogReindex(), a.catalogRemove())
	return c
}

// ask sends the catalog a message and gives its answer.
func (a *App) ask(ctx context.Context, selector string, args ...object.Value) (object.Value, error) {
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	m := wire.Send{Target: catalogTarget, Selector: selector}
	for _, v := range args {
		m.Args = append(m.Args, wire.Value{Value: v})
	}
	o, err := client.Send(ctx, m)
	switch {
	case err != nil:
		return nil, err
	case o.Error != nil:
		return nil, o.Error.Err()
	case o.Value == nil:
		return object.None{}, nil
	}
	return o.Value.Value, nil
}

func (a *App) catalogAdd() *cobra.Command {
	var chunker, language string
	c := &cobra.Command{
		Use: "add PATH…", Short: "Add files, or whole folders, to the catalog", Args: cobra.MinimumNArgs(1),
		Long: "Add text, Markdown, HTML, source code and, with pdftotext, PDF. A document's id is its path; adding a path again replaces it.\n" +
			"A long file becomes several documents, PATH, PATH#2 and so on.\n" +
			"A file that cannot be read is named and passed over. Hidden files and folders are left out.",
		RunE: func(cmd *cobra.Command, args []string) error {
			files, left := filesAt(args)
			if len(files) == 0 && len(left) == 1 {
				return left[0]
			}
			for _, err := range left {
				a.tellErr("%s", err)
			}
			skipped := len(left)
			show, end := a.Meter("catalog")
			defer end()
			added, chunks := 0, 0
			for i, path := range files {
				show(wire.CareProgress{Done: int64(i), Total: int64(len(files)), Text: path})
				text, err := catalog.Read(cmd.Context(), path)
				if err != nil && len(files)+len(left) == 1 {
					return err
				}
				if err != nil {
					skipped++
					a.tellErr("%s", err)
					continue
				}
				var how, lang object.Value = object.None{}, object.None{}
				if chunker != "" {
					how = object.Str(chunker)
				}
				if language != "" {
					lang = object.Str(language)
				}
				meta := &object.Dict{Entries: []object.Entry{
					{Key: object.Str("path"), Value: object.Str(path)}, {Key: object.Str("kind"), Value: object.Str(text.Kind)},
					{Key: object.Str("ending"), Value: object.Str(strings.TrimPrefix(filepath.Ext(path), "."))},
				}}
				n, err := a.addParts(cmd.Context(), path, catalog.Parts(text.Body), meta, how, lang)
				if batos.CodeOf(err) == batos.Limit {
					skipped++
					a.tellErr("%s: %s", path, err)
					continue
				}
				if err != nil {
					return err
				}
				added++
				chunks += n
			}
			end()
			if added == 0 && skipped > 0 {
				return batos.Errorf(batos.Invalid, "nothing was added: %d files could not be read", skipped)
			}
			return a.done(map[string]int{"documents": added, "chunks": chunks, "skipped": skipped}, "%d documents in %d chunks; %d files passed over", added, chunks, skipped)
		},
	}
	c.Flags().StringVar(&chunker, "chunker", "", "how to cut: "+catalog.Recursive+" or "+catalog.Semantic+" (default: as the catalog's slot says)")
	c.Flags().StringVar(&language, "language", "", "language of the text: "+strings.Join(catalog.Languages(), ", ")+" (default: as the catalog's slot says)")
	return c
}

// addParts adds a document, a message for each part, and takes out what an
// earlier, longer one left behind. It gives the number of chunks.
func (a *App) addParts(ctx context.Context, path string, parts []string, meta, chunker, language object.Value) (int, error) {
	chunks := 0
	for i, part := range parts {
		v, err := a.ask(ctx, "index_document_", object.Str(partID(path, i)), object.Str(part), meta, chunker, language)
		if err != nil {
			return chunks, err
		}
		chunks += len(listed(v))
	}
	_, err := a.removeParts(ctx, path, max(1, len(parts)))
	return chunks, err
}

// partID is the id of a part of a long document; the first has the document's.
func partID(path string, part int) string {
	if part == 0 {
		return path
	}
	return fmt.Sprintf("%s#%d", path, part+1)
}

// removeParts takes a document's parts out, from the one of that number on, and
// gives how many there were.
func (a *App) removeParts(ctx context.Context, path string, from int) (int, error) {
	for i := from; ; i++ {
		v, err := a.ask(ctx, "remove_document_", object.Str(partID(path, i)))
		if b, ok := v.(object.Bool); err != nil || !ok || !bool(b) {
			return i - from, err
		}
	}
}

// filesAt lists the files at paths, in order, and says what it passes over.
func filesAt(paths []string) (files []string, left []error) {
	skip := func(err error) { left = append(left, err) }
	for _, path := range paths {
		st, err := os.Stat(path)
		if err != nil {
			skip(batos.Errorf(batos.NotFound, "%s: there is no such file or folder", path))
			continue
		}
		if !st.IsDir() {
			files = append(files, filepath.Clean(path))
			continue
		}
		if !strings.HasSuffix(path, string(filepath.Separator)) {
			path += string(filepath.Separator) // the folder that a link names
		}
		_ = filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error { // it ends no other way
			switch {
			case err != nil:
				skip(batos.Errorf(batos.Denied, "%s cannot be read: %w", name, err))
				return fs.SkipDir
			case strings.HasPrefix(d.Name(), ".") && name != path:
				if d.IsDir() {
					return fs.SkipDir
				}
			case d.Type().IsRegular():
				files = append(files, filepath.Clean(name))
			case !d.IsDir():
				skip(batos.Errorf(batos.Invalid, "%s is a link or no file; name it to add what it leads to", name))
			}
			return nil
		})
	}
	return files, left
}

// listed gives the items of a list.
func listed(v object.Value) []object.Value {
	if l, ok := v.(*object.List); ok {
		return l.Items
	}
	return nil
}

func (a *App) catalogSearch() *cobra.Command {
	var top int
	var where []string
	c := &cobra.Command{
		Use: "search QUERY…", Short: "Find what the documents say about something", Args: cobra.MinimumNArgs(1),
		Example: "  batos catalog search how is a crash recovered\n  batos catalog search --where kind=markdown pack",
		RunE: func(cmd *cobra.Command, args []string) error {
			var filter object.Value = object.None{}
			if len(where) > 0 {
				d := &object.Dict{}
				for _, w := range where {
					k, v, ok := strings.Cut(w, "=")
					if !ok || k == "" {
						return batos.Errorf(batos.Invalid, "--where %.60q: write NAME=VALUE", w)
					}
					d.Entries = append(d.Entries, object.Entry{Key: object.Str(k), Value: object.Str(v)})
				}
				filter = d
			}
			v, err := a.ask(cmd.Context(), "search_", object.Str(strings.Join(args, " ")), object.NewInt(int64(top)), filter)
			if err != nil {
				return err
			}
			if a.json {
				a.print(wire.Value{Value: v})
				return nil
			}
			hits := listed(v)
			if len(hits) == 0 {
				a.line("nothing found")
				return nil
			}
			for i, h := range hits {
				parts := get(h, "parts")
				why := "bm25"
				if text(get(h, "by")) != "text" {
					why = fmt.Sprintf("fused from bm25 %.5s, cosine %.5s", text(get(parts, "bm25")), text(get(parts, "cosine")))
				}
				a.line("%d  %s, chunk %s (%s)   score %.6s, %s", i+1, text(get(h, "document")), text(get(h, "index")), refText(get(h, "chunk")), text(get(h, "score")), why)
				for _, l := range excerpt(text(get(h, "text"))) {
					a.line("     %s", l)
				}
			}
			if text(get(hits[0], "by")) == "text" {
				a.line("by text only: there is no embedder (batos up --embedder FILE.gguf)")
			}
			return nil
		},
	}
	c.Flags().IntVar(&top, "top", 5, "how many")
	c.Flags().StringArrayVar(&where, "where", nil, "only documents with this metadata: NAME=VALUE, again for more")
	return c
}

func refText(v object.Value) string {
	if r, ok := v.(object.Ref); ok {
		return batos.OID(r).String()
	}
	return "?"
}

// excerpt is the beginning of a chunk for a terminal.
func excerpt(s string) []string {
	const most, width = 4, 120
	var out []string
	for _, l := range strings.Split(s, "\n") {
		if l = strings.TrimSpace(l); l == "" {
			continue
		}
		if len(out) == most {
			return append(out, "…")
		}
		if r := []rune(l); len(r) > width {
			l = string(r[:width]) + "…"
		}
		out = append(out, l)
	}
	return out
}

// documents lists all documents of the catalog.
func (a *App) documents(ctx context.Context) (*object.List, error) {
	const page = 500
	all := &object.List{}
	for after := ""; ; {
		v, err := a.ask(ctx, "list_", object.Str(after), object.NewInt(page))
		if err != nil {
			return nil, err
		}
		got := listed(v)
		all.Items = append(all.Items, got...)
		if len(got) < page {
			return all, nil
		}
		after = text(get(got[len(got)-1], "id"))
	}
}

func (a *App) catalogList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the documents", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := a.documents(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				a.print(wire.Value{Value: all})
				return nil
			}
			for _, d := range all.Items {
				vectors := ""
				if n := text(get(d, "dimensions")); n != "0" {
					vectors = ", vectors of " + n
				}
				a.line("%-9s %-60s %4s chunks, %s, %s%s", refText(get(d, "document")), text(get(d, "id")), text(get(d, "chunks")), text(get(d, "chunker")), text(get(d, "language")), vectors)
			}
			a.line("%s", fmt.Sprintf("%d documents", len(all.Items)))
			return nil
		},
	}
}

func (a *App) catalogReindex() *cobra.Command {
	return &cobra.Command{
		Use: "reindex [DOCUMENT…]", Short: "Index documents anew: after another embedder, or another version of batos",
		Long: "Index the chunks of documents anew, of all if none is named: with the vectors of the embedder that batos up was given\n" +
			"and the rules of words of this version. How documents are cut into chunks stays; add them again for that.",
		RunE: func(cmd *cobra.Command, ids []string) error {
			if len(ids) == 0 {
				all, err := a.documents(cmd.Context())
				if err != nil {
					return err
				}
				for _, d := range all.Items {
					ids = append(ids, text(get(d, "id")))
				}
			}
			show, end := a.Meter("catalog")
			defer end()
			chunks := 0
			for i, id := range ids {
				show(wire.CareProgress{Done: int64(i), Total: int64(len(ids)), Text: id})
				v, err := a.ask(cmd.Context(), "reindex_", object.Str(id))
				if err != nil {
					return batos.Errorf(batos.CodeOf(err), "%s: %w", id, err)
				}
				if _, none := v.(object.None); none {
					return noDocument(id)
				}
				chunks += len(listed(v))
			}
			end()
			return a.done(map[string]int{"documents": len(ids), "chunks": chunks}, "%d documents in %d chunks", len(ids), chunks)
		},
	}
}

func noDocument(id string) error {
	return batos.Errorf(batos.NotFound, "the catalog has no document %.80q; batos catalog list", id)
}

func (a *App) catalogRemove() *cobra.Command {
	return &cobra.Command{
		Use: "rm DOCUMENT…", Short: "Take documents out of the catalog", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, id := range args {
				n, err := a.removeParts(cmd.Context(), id, 0)
				if err != nil {
					return err
				}
				if n == 0 {
					return noDocument(id)
				}
				if !a.json {
					a.line("%s is out", id)
				}
			}
			return nil
		},
	}
}
