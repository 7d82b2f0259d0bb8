// Package openid lets somebody in for whom an OpenID Connect provider vouches: the authorization code flow with PKCE
// (RFC 7636), state and nonce. It says what the provider has said about a person, and nothing about what they may.
//
// Nothing is kept here between the two halves of a login: what the second one needs of the first travels in a sealed
// cookie, so that any replica that has the same keys can finish it.
package openid

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// FlowLife is how long somebody may take to log in at the provider.
const FlowLife = 10 * time.Minute

// answerLimit is how long the provider may take for one answer.
const answerLimit = 10 * time.Second

// The errors of a login. What is wrong inside is in the text, for the record; none of it is for the person.
var (
	ErrDown    = errors.New("the provider does not answer as it should")
	ErrFlow    = errors.New("this login was not begun here, or too long ago")
	ErrRefused = errors.New("the provider has not let them in")
)

// Settings say which provider, and how this server is known there.
type Settings struct {
	Issuer   string // URL, as the provider writes it in its tokens
	ClientID string
	Secret   string // empty: this server is a public client, known by PKCE alone
	Name     string // what people call the provider
	Claim    string // that names the person; default: email, which must be verified
	Redirect string // this server's URL that the provider sends people back to
}

// DefaultClaim names the person where nobody says otherwise.
const DefaultClaim = "email"

// Provider is the one of an installation. It is asked for its addresses and keys when somebody first logs in, and again
// until it has answered; so a server starts without it.
type Provider struct {
	Settings
	Key []byte // 32 bytes, the same in all replicas
	Now func() time.Time

	mu    sync.Mutex
	found *oidc.Provider
}

// flow is what the second half of a login needs of the first.
type flow struct {
	State    string    `json:"s"`
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"`
	Until    time.Time `json:"u"`
}

// client asks the provider, on whatever context.
var client = &http.Client{Timeout: answerLimit}

func (p *Provider) provider(ctx context.Context) (*oidc.Provider, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.found != nil {
		return p.found, nil
	}
	// The keys are read again with this context whenever the provider has changed them, long after this request.
	found, err := oidc.NewProvider(oidc.ClientContext(context.WithoutCancel(ctx), client), p.Issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	p.found = found
	return found, nil
}

func (p *Provider) claim() string {
	if p.Claim == "" {
		return DefaultClaim
	}
	return p.Claim
}

// Title is what people call the provider.
func (p *Provider) Title() string {
	if p.Name != "" {
		return p.Name
	}
	at, err := url.Parse(p.Issuer)
	if err != nil {
		return p.Issuer
	}
	return at.Host
}

func (p *Provider) config(found *oidc.Provider) oauth2.Config {
	scopes := []string{oidc.ScopeOpenID}
	switch p.claim() {
	case "sub":
	case DefaultClaim:
		scopes = append(scopes, "email")
	default:
		scopes = append(scopes, "profile", "email")
	}
	return oauth2.Config{ClientID: p.ClientID, ClientSecret: p.Secret, Endpoint: found.Endpoint(), RedirectURL: p.Redirect, Scopes: scopes}
}

// Begin returns where to send the browser, and what it must bring back.
func (p *Provider) Begin(ctx context.Context) (address, sealed string, err error) {
	found, err := p.provider(ctx)
	if err != nil {
		return "", "", err
	}
	f := flow{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Until: p.Now().Add(FlowLife)}
	if sealed, err = p.seal(f); err != nil {
		return "", "", err
	}
	config := p.config(found)
	return config.AuthCodeURL(f.State, oidc.Nonce(f.Nonce), oauth2.S256ChallengeOption(f.Verifier)), sealed, nil
}

// Finish takes what the browser has brought back, and returns what names the person: an address where the claim is
// email. Each code counts once: the provider sees to that.
func (p *Provider) Finish(ctx context.Context, sealed string, query url.Values) (name string, err error) {
	f, err := p.open(sealed)
	if err != nil {
		return "", err
	}
	if subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(f.State)) != 1 {
		return "", fmt.Errorf("%w: it has another state", ErrFlow)
	}
	if from := query.Get("iss"); from != "" && from != p.Issuer { // RFC 9207
		return "", fmt.Errorf("%w: it comes from another provider", ErrFlow)
	}
	if said := query.Get("error"); said != "" {
		return "", fmt.Errorf("%w: %.100q", ErrRefused, said)
	}
	found, err := p.provider(ctx)
	if err != nil {
		return "", err
	}
	ctx = oidc.ClientContext(ctx, client)
	config := p.config(found)
	tokens, err := config.Exchange(ctx, query.Get("code"), oauth2.VerifierOption(f.Verifier))
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode < 500 {
		return "", fmt.Errorf("%w: %.100q", ErrRefused, answered.ErrorCode)
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrDown, err)
	}
	raw, _ := tokens.Extra("id_token").(string)
	verifier := found.VerifierContext(ctx, &oidc.Config{ClientID: p.ClientID, Now: p.Now})
	token, err := verifier.Verify(ctx, raw)
	if err != nil {
		return "", fmt.Errorf("%w: its token does not count: %w", ErrRefused, err)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(f.Nonce)) != 1 {
		return "", fmt.Errorf("%w: its token is for another login", ErrFlow)
	}
	claims := map[string]any{}
	if err := token.Claims(&claims); err != nil {
		return "", fmt.Errorf("%w: its token does not read: %w", ErrRefused, err)
	}
	if _, has := claims[p.claim()]; !has { // many providers tell it only when they are asked
		if claims, err = p.ask(ctx, found, tokens, token.Subject); err != nil {
			return "", err
		}
	}
	return p.named(claims)
}

// ask reads what the provider tells about whoever the token is of; it must be about nobody else.
func (p *Provider) ask(ctx context.Context, found *oidc.Provider, tokens *oauth2.Token, subject string) (map[string]any, error) {
	info, err := found.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDown, err)
	}
	if info.Subject != subject {
		return nil, fmt.Errorf("%w: it told about somebody else", ErrRefused)
	}
	claims := map[string]any{}
	if err := info.Claims(&claims); err != nil {
		return nil, fmt.Errorf("%w: what it tells does not read: %w", ErrRefused, err)
	}
	return claims, nil
}

func (p *Provider) named(claims map[string]any) (string, error) {
	name, _ := claims[p.claim()].(string)
	if name = strings.TrimSpace(name); name == "" {
		return "", fmt.Errorf("%w: it tells no %s", ErrRefused, p.claim())
	}
	if p.claim() == DefaultClaim && claims["email_verified"] != true && claims["email_verified"] != "true" {
		return "", fmt.Errorf("%w: it has not verified the address", ErrRefused)
	}
	return name, nil
}

func (p *Provider) cipher() (cipher.AEAD, error) {
	block, err := aes.NewCipher(p.Key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (p *Provider) seal(f flow) (string, error) {
	aead, err := p.cipher()
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(f)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(aead.Seal(nil, nil, text, []byte(p.ClientID))), nil
}

func (p *Provider) open(sealed string) (flow, error) {
	var f flow
	aead, err := p.cipher()
	if err != nil {
		return f, err
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || sealed == "" {
		return f, fmt.Errorf("%w: the browser has brought nothing back", ErrFlow)
	}
	text, err := aead.Open(nil, nil, raw, []byte(p.ClientID))
	if err != nil || json.Unmarshal(text, &f) != nil {
		return f, fmt.Errorf("%w: what the browser has brought back is not ours", ErrFlow)
	}
	if !p.Now().Before(f.Until) {
		return f, fmt.Errorf("%w: more than %s", ErrFlow, FlowLife)
	}
	return f, nil
}
